"""Single writes: every error code of each, in the order of the checks, and the log they leave."""

from .jute import OPEN, Writer
from .registry import scenario

BAD_PATHS = [
    "", "x", "//", "/a//b", "/a/", "/.", "/..", "/a/./b", "/a/../b", "/\0", "/a\0b", "/\x01",
    "/\x1f", "/\x7f", "/\x9f", "/\ud800", "/\ue000", "/\uf8ff", "/\ufff0", "/\U0001F600", None,
]
GOOD_PATHS = ["/ ", "/\xa0", "/\u4e2d", "/...", "/.a", "/a.", "/\uf900", "/\uffef", "/\x20x"]
BAD_ACLS = [
    None, [], [(31, None, "x")], [(31, "world", "somebody")], [(31, "nothing", "x")],
    [(31, "digest", "nocolon")], [(31, "digest", "a:b:c")], [(31, "ip", "1.2.3")],
    [(31, "ip", "1.2.3.4/33")], [(31, "ip", "somewhere")], [(31, "auth", "")],
]
READ_ONLY = [(1, "world", "anyone")]
TTL = "-Dzookeeper.extendedTypesEnabled=true"
QUOTA = "-Dzookeeper.enforceQuota=true"


def shown(path):
    return ascii(path).replace("#", "")


def create_errors(t, op, flags):
    """The checks in their order; the flags fit the operation."""

    def attempt(path, acl=OPEN, flags=flags, data=b"d", ttl=None):
        return a.create(path, data, acl, flags, op, ttl, comment=f"{shown(path)} flags {flags}")

    a = t.open("a")
    t.title("good")
    attempt("/n")
    a.exists("/n")
    attempt("/null", data=None)
    a.data("/null")
    attempt("/empty", data=b"")
    a.data("/empty")
    for path in GOOD_PATHS:
        attempt(path)
    t.title("flags that do not exist")
    for flag in (7, -1, 100):
        attempt("/x", flags=flag)
    t.title("paths")
    for path in BAD_PATHS:
        if path is not None:
            attempt(path)
    attempt("/")
    t.title("access lists")
    for acl in BAD_ACLS:
        attempt("/x", acl=acl)
    attempt("/doubled", acl=[(31, "world", "anyone"), (31, "world", "anyone")])
    a.look("getACL", "/doubled")
    attempt("/odd", acl=[(0, "world", "anyone"), (255, "ip", "127.0.0.0/8")])
    a.look("getACL", "/odd")
    t.title("no parent, no right, there already, an ephemeral parent")
    attempt("/none/x")
    a.create("/locked", acl=READ_ONLY)
    attempt("/locked/x")
    attempt("/n")
    a.create("/eph", flags=1)
    attempt("/eph/x")
    t.title("the first failing check wins")
    attempt("/none/x", acl=[])
    attempt("x", acl=[], flags=7)
    attempt("/locked/\x01")
    attempt("/none/\x01")
    a.exists("/")
    return a


@scenario("create", log=True)
def create(t):
    """Operation 1: persistent, ephemeral, sequential; every refusal."""
    a = create_errors(t, "create", 0)
    sequential(t, a, "create")
    ttl_refused(t, a, "create")


@scenario("create2", log=True)
def create2(t):
    """Operation 15: as create, with the stat."""
    a = create_errors(t, "create2", 0)
    sequential(t, a, "create2")
    ttl_refused(t, a, "create2")


@scenario("create-container", log=True)
def create_container(t):
    """Operation 19."""
    create_errors(t, "createContainer", 4)


@scenario("create-ttl", TTL, log=True)
def create_ttl(t):
    """Operation 21 where TTL nodes are allowed."""
    a = create_errors(t, "createTTL", 5)
    t.title("the ttl: 0, below, 1, the largest, above")
    for at, ttl in enumerate((0, -1, -5, 1, 2**40 - 1, 2**40, 2**62)):
        a.create(f"/t{at}", b"", OPEN, 5, "createTTL", ttl, comment=f"ttl {ttl}")
        a.exists(f"/t{at}")
    t.title("sequential, and flags that are no TTL with a ttl")
    a.create("/s-", b"", OPEN, 6, "createTTL", 5000, comment="sequential")
    a.create("/p", b"", OPEN, 0, "createTTL", 5000, comment="flags 0 with a ttl")
    a.create("/p", b"", OPEN, 1, "createTTL", 5000, comment="flags 1 with a ttl")
    t.title("TTL flags through other operations")
    for op in ("create", "create2", "createContainer"):
        a.create("/p", b"", OPEN, 5, op)
        a.create("/p", b"", OPEN, 6, op)


@scenario("create-ttl-off", log=True)
def create_ttl_off(t):
    """TTL nodes are off unless asked for."""
    a = t.open("a")
    for op in ("createTTL", "create", "create2", "createContainer"):
        a.create("/t", b"", OPEN, 5, op, 1000)
        a.create("/t", b"", OPEN, 6, op, 1000)
    a.create("/t", b"", OPEN, 5, "createTTL", 0, comment="ttl 0")


def ttl_refused(t, a, op):
    t.title("TTL flags where they are off")
    a.create("/t", b"", OPEN, 5, op)
    a.create("/t", b"", OPEN, 6, op)


def sequential(t, a, op):
    t.title("ephemeral and sequential")
    a.create("/e", b"x", OPEN, 1, op)
    a.exists("/e")
    a.create("/s-", b"", OPEN, 2, op)
    a.create("/s-", b"", OPEN, 3, op)
    a.create("/seq", b"")
    for _ in range(3):
        a.create("/seq/", b"", OPEN, 2, op)
    a.delete("/seq/0000000001")
    a.create("/seq/n", b"", OPEN, 2, op)
    a.exists("/seq")
    a.create("/seq//", b"", OPEN, 2, op)
    a.create("/seq/\x01", b"", OPEN, 2, op, comment="bad character")
    a.children("/seq")


@scenario("delete", log=True)
def delete(t):
    """Operation 2 in the order of its checks."""
    a = t.open("a")
    a.create("/p")
    a.create("/p/c")
    t.title("paths that are none, and those of the system")
    for path in ("", "x", "/p\0", "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"):
        a.delete(path)
    t.title("no parent, no node, wrong version, children")
    a.delete("/none/x")
    a.delete("/none")
    a.delete("/p/c", version=5)
    a.delete("/p", version=5)
    a.delete("/p")
    a.delete("/p/")
    a.delete("//p")
    t.title("no right")
    a.create("/locked", acl=READ_ONLY + [(4, "world", "anyone")])
    a.create("/locked/c")
    a.delete("/locked/c")
    a.delete("/locked/none")
    t.title("good")
    a.delete("/p/c", version=0)
    a.exists("/p")
    a.delete("/p")
    a.exists("/p")


@scenario("set-data", log=True)
def set_data(t):
    """Operation 5 in the order of its checks."""
    a = t.open("a")
    a.create("/n", b"one")
    t.title("good: new, null, empty, with the version")
    a.set("/n", b"two")
    a.set("/n", None)
    a.data("/n")
    a.set("/n", b"", version=2)
    a.data("/n")
    t.title("paths")
    for path in BAD_PATHS:
        if path is not None:
            a.call("setData", Writer().buf(path).buf(b"").int(-1), comment=shown(path))
    t.title("no node, no right, wrong version")
    a.set("/none", b"")
    a.set("/n", b"", version=7)
    a.set("/n", b"", version=-2)
    a.create("/locked", acl=READ_ONLY)
    a.set("/locked", b"", version=7)
    t.title("the root and the system's nodes")
    a.set("/", b"root")
    a.data("/")
    a.set("/zookeeper", b"x")
    a.set("/zookeeper/config", b"x")


@scenario("set-acl", log=True)
def set_acl(t):
    """Operation 7 in the order of its checks."""
    a = t.open("a")
    a.create("/n", b"one")
    t.title("good")
    a.set_acl("/n", [(31, "world", "anyone"), (1, "ip", "127.0.0.1")])
    a.look("getACL", "/n")
    a.set_acl("/n", [(31, "ip", "127.0.0.1/8")], version=1)
    a.look("getACL", "/n")
    t.title("paths")
    for path in BAD_PATHS:
        if path is not None:
            body = Writer().buf(path).acl(OPEN).int(-1)
            a.call("setACL", body, comment=shown(path))
    t.title("access lists")
    for acl in BAD_ACLS:
        a.set_acl("/n", acl)
    t.title("no node, no right, wrong version")
    a.set_acl("/none", OPEN)
    a.set_acl("/none", [])
    a.set_acl("/n", OPEN, version=9)
    a.create("/locked", acl=READ_ONLY)
    a.set_acl("/locked", OPEN, version=9)
    a.exists("/n")


@scenario("delete-container", apache_only="clients may not send it elsewhere", log=True)
def delete_container(t):
    """Operation 20 from a client, as Apache takes it."""
    a = t.open("a")
    a.create("/c", flags=4, op="createContainer")
    a.create("/p")
    a.create("/p/c")
    a.create("/e", flags=1)
    for path in ("x", "/", "/zookeeper", "/none", "/p", "/e", "/c"):
        a.call("deleteContainer", Writer().buf(path), comment=path)
    a.exists("/c")


@scenario("reaper", TTL, "-Dznode.container.checkIntervalMs=300", log=True)
def reaper(t):
    """Containers that had children and TTL nodes go by themselves; others stay."""
    a = t.open("a")
    a.create("/fresh", flags=4, op="createContainer")
    a.create("/used", flags=4, op="createContainer")
    a.create("/used/c")
    a.look("exists", "/used", True)
    a.delete("/used/c")
    await_event(a, "/used")
    a.create("/ttl", b"", OPEN, 5, "createTTL", 1)
    a.look("exists", "/ttl", True)
    await_event(a, "/ttl")
    a.exists("/fresh")


def await_event(conn, path):
    """Waits for the event without pings, so that the transcript does not depend on time."""
    conn.t.title(f"{path} goes")
    if any(f"event 2 {path}" in line for line in conn.t.lines):
        return
    while True:
        data = conn.frame()
        conn.show(data, None)
        if f"event 2 {path}" in conn.t.lines[-1]:
            return


@scenario("quota", QUOTA, log=True)
def quota(t):
    """Hard limits refuse, soft ones do not; usage is kept in place without a txn."""
    a = t.open("a")
    limits = "/zookeeper/quota/q/zookeeper_limits"
    stats = "/zookeeper/quota/q/zookeeper_stats"
    a.create("/q", b"12345")
    a.create("/zookeeper/quota/q")
    a.create(limits, b"count=-1,bytes=-1=;byteHardLimit=20;countHardLimit=3")
    a.create(stats, b"count=0,bytes=0")
    a.data(stats)
    t.title("by count")
    a.create("/q/a", b"1")
    a.create("/q/b", b"1")
    a.create("/q/c", b"1")
    for op, flags in (("create2", 0), ("createContainer", 4)):
        a.create("/q/c", b"1", OPEN, flags, op)
    a.data(stats)
    a.delete("/q/b")
    t.title("by bytes")
    a.create("/q/b", b"x" * 100)
    a.set("/q/a", b"x" * 100)
    a.set("/q/a", b"x" * 15)
    a.data(stats)
    a.set("/q/a", b"")
    t.title("in a multi")
    body = Writer()
    body.int(5).bool(False).int(-1).buf("/q/a").buf(b"y" * 30).int(-1)
    body.int(-1).bool(True).int(-1)
    a.call("multi", body)
    t.title("soft limits only warn")
    a.set(limits, b"count=1,bytes=1")
    a.create("/q/soft", b"x" * 50)
    a.data(stats)
    t.title("wrong version and over the limit: the limit is looked at first")
    a.set(limits, b"count=-1,bytes=-1=;byteHardLimit=1;countHardLimit=1")
    a.set("/q/a", b"x" * 200, version=99)
    t.title("without limits")
    a.delete(limits)
    a.create("/q/free", b"x" * 50)
    a.data(stats)


@scenario("quota-ttl", QUOTA, TTL)
def quota_ttl(t):
    """createTTL over a hard limit."""
    a = t.open("a")
    a.create("/q")
    a.create("/zookeeper/quota/q")
    a.create("/zookeeper/quota/q/zookeeper_limits", b"count=-1,bytes=-1=;countHardLimit=1")
    a.create("/zookeeper/quota/q/zookeeper_stats", b"count=0,bytes=0")
    a.create("/q/t", b"", OPEN, 5, "createTTL", 1000)


@scenario("reconfig")
def reconfig(t):
    """Where membership cannot change."""
    a = t.open("a")
    a.call("reconfig", Writer().buf("server.1=a:1:2").buf(None).buf(None).long(-1))
    a.data("/zookeeper/config")
    a.exists("/zookeeper/config")


@scenario("reconfig-enabled", "reconfigEnabled=true")
def reconfig_enabled(t):
    """A standalone server that would allow it."""
    a = t.open("a")
    a.call("reconfig", Writer().buf("server.1=a:1:2").buf(None).buf(None).long(-1))
    a.drain()
