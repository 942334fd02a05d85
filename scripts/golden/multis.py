"""multi and multiRead: every kind, every refusal, and the log of both outcomes."""

from .jute import OPEN, OPS, Writer
from .registry import scenario

TTL = "-Dzookeeper.extendedTypesEnabled=true"
READ_ONLY = [(1, "world", "anyone")]


def op(kind, *fields, flags=0, data=b"d", acl=OPEN, ttl=5000, version=-1):
    """One operation's fields, written by its kind."""

    def write(out):
        out.int(OPS[kind]).bool(False).int(-1).buf(fields[0])
        if kind.startswith("create"):
            out.buf(data).acl(acl).int(flags)
            if kind == "createTTL":
                out.long(ttl)
        elif kind == "setData":
            out.buf(data).int(version)
        elif kind in ("delete", "check"):
            out.int(version)
        elif kind in ("getData", "getChildren"):
            out.bool(False)
        elif kind == "setACL":
            out.acl(acl).int(version)

    return write


def multi(conn, *ops, name="multi", comment=""):
    body = Writer()
    for write in ops:
        write(body)
    body.int(-1).bool(True).int(-1)
    return conn.call(name, body, comment=comment)


def setup(t):
    a = t.open("a")
    a.create("/p", b"x")
    a.create("/p/c")
    a.create("/locked", acl=READ_ONLY)
    a.create("/e", flags=1)
    return a


@scenario("multi", TTL, log=True)
def good_and_bad(t):
    """Each kind of operation once in a good multi, each error of each kind in a failing one."""
    a = setup(t)
    t.title("empty, and one of each kind")
    multi(a)
    multi(
        a, op("create", "/m1"), op("create2", "/m2", data=None), op("setData", "/m1"),
        op("check", "/m1", version=1), op("createContainer", "/m3", flags=4),
        op("createTTL", "/m4", flags=5), op("delete", "/m2"), op("create", "/m1/e", flags=1),
        op("create", "/m1/s-", flags=2), op("create2", "/m1/s-", flags=3),
    )
    for path in ("/m1", "/m2", "/m3", "/m4", "/m1/e"):
        a.exists(path)
    t.title("each sees what those before it did")
    multi(a, op("create", "/x"), op("create", "/x/y"), op("delete", "/x/y"), op("delete", "/x"))
    multi(a, op("check", "/p", version=0), comment="only checks")
    failures = {
        "create": [("/none/x", {}), ("/p", {}), ("/locked/x", {}), ("/e/x", {}), ("x", {}),
                   ("/y", {"acl": []})],
        "create2": [("/none/x", {}), ("/p", {}), ("/locked/x", {}), ("/e/x", {}), ("x", {}),
                    ("/y", {"acl": []})],
        "createContainer": [("/none/x", {"flags": 4}), ("/p", {"flags": 4})],
        "createTTL": [("/none/x", {"flags": 5}), ("/p", {"flags": 5}),
                      ("/y", {"flags": 5, "ttl": 0})],
        "delete": [("/none/x", {}), ("/none", {}), ("/p", {}), ("/p/c", {"version": 9}), ("x", {}),
                   ("/zookeeper", {})],
        "setData": [("/none", {}), ("/locked", {}), ("/p", {"version": 9}), ("x", {})],
        "check": [("/none", {}), ("/p", {"version": 9}), ("x", {})],
    }
    for kind, cases in failures.items():
        t.title(f"{kind} fails between two others")
        for path, options in cases:
            multi(a, op("create", "/before"), op(kind, path, **options), op("create", "/after"),
                  comment=f"{kind} {path}")
    a.create("/hidden", acl=[(30, "world", "anyone")])
    multi(a, op("check", "/hidden", version=0), comment="check without READ")
    a.exists("/before")


@scenario("multi-refused", TTL, log=True)
def refused(t):
    """Multis that are refused as a whole, and the write that still works after each."""
    a = setup(t)
    multi(a, op("getData", "/p"), comment="a read")
    multi(a, op("create", "/x"), op("getChildren", "/p"), comment="a write and a read")
    multi(a, op("setACL", "/p"), comment="setACL")
    multi(a, op("create", "/x", flags=5), comment="TTL flags under create")
    multi(a, op("create2", "/x", flags=6), comment="TTL flags under create2")
    multi(a, op("create", "/x", flags=7), comment="unknown flags")
    multi(a, op("createTTL", "/x", flags=7), comment="unknown flags under createTTL")
    multi(a, op("create", "/container", flags=4), comment="container flags under create")
    multi(a, op("createTTL", "/plain", flags=0), comment="no TTL flags under createTTL")
    a.exists("/container")
    a.exists("/plain")
    a.create("/still")


@scenario("multi-watches")
def watches(t):
    """Events of a multi come in the order of its operations, before its reply."""
    a, b = t.open("a"), t.open("b")
    a.create("/p")
    for conn in (a, b):
        conn.add_watch("/", 1)
        conn.children("/p", watch=True)
        conn.exists("/p/2", watch=True)
    multi(a, op("create", "/p/2"), op("setData", "/p"), op("create", "/p/1"), op("delete", "/p/2"))
    b.drain()
    t.title("a failed one fires nothing")
    multi(a, op("setData", "/p"), op("delete", "/none"))
    b.drain()


@scenario("multi-read")
def multi_read(t):
    """Operation 22: errors by operation, a write inside, watches not set."""
    a = setup(t)
    a.create("/hidden", b"", [(30, "world", "anyone")])

    def read(*ops, comment=""):
        multi(a, *ops, name="multiRead", comment=comment)

    read(comment="empty")
    read(op("getData", "/p"), op("getChildren", "/p"))
    read(op("getData", "/none"), op("getChildren", "/none"), op("getData", "/p"))
    read(op("getData", "/hidden"), op("getChildren", "/hidden"))
    read(op("getData", "/p"), op("create", "/x"), comment="a write after a read")
    read(op("create", "/x"), comment="a write")
    read(op("check", "/p"), comment="a check")
    a.exists("/x")
