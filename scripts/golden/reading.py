"""Reads, watches and what connections say about themselves."""

from .jute import OPEN, Writer
from .registry import scenario

WRITE_ONLY = [(30, "world", "anyone")]
NO_READ = [(14, "world", "anyone")]


@scenario("reads")
def reads(t):
    """Every read: good, no node, no right, a short body, a null path, paths never checked."""
    a = t.open("a")
    a.create("/n", b"data")
    a.create("/n/a")
    a.create("/n/b", None)
    a.create("/locked", b"secret", NO_READ)
    a.create("/writable", b"", WRITE_ONLY)
    for op in ("exists", "getData", "getChildren", "getChildren2"):
        t.title(op)
        for path in ("/n", "/", "", "/n/b", "/none", "/locked", "x", "/n/", "/n\0", "/zookeeper"):
            a.look(op, path, False, comment=ascii(path))
        a.call(op, Writer().buf(None).bool(False), comment="null path")
        a.call(op, Writer().buf("/n"), comment="short body")
        a.call(op, comment="no body")
    for op in ("getACL", "getAllChildrenNumber", "getEphemerals"):
        t.title(op)
        for path in ("/n", "/", "", "/none", "/locked", "/writable", "x"):
            a.look(op, path, comment=ascii(path))
        a.call(op, Writer().buf(None), comment="null path")
        a.call(op, Writer().raw(b"\0\0"), comment="short body")
    t.title("sync, ping, whoAmI")
    for path in ("/n", "/none", "x", ""):
        a.look("sync", path)
    a.call("sync", Writer().raw(b"\0\0"), comment="short body")
    a.call("ping", xid=-2)
    a.request("ping", xid=5, comment="with another xid")
    a.answer("ping", -2)
    a.call("whoAmI")
    a.exists("/")


@scenario("ephemerals")
def ephemerals(t):
    """getEphemerals tells a session its own, by prefix of the string."""
    a, b = t.open("a"), t.open("b")
    a.create("/p")
    for name in ("/p/e1", "/p/e2", "/pe3"):
        a.create(name, flags=1)
    b.create("/p/other", flags=1)
    for prefix in ("/", "", "/p", "/p/", "/p/e1", "/none", " "):
        a.look("getEphemerals", prefix)
    b.look("getEphemerals", "/")
    a.look("getAllChildrenNumber", "/p")
    a.look("getAllChildrenNumber", "/")


@scenario("watch-events")
def events(t):
    """One-shot watches: which event, to whom, in which order, before the writer's reply."""
    a, b = t.open("a"), t.open("b")
    t.title("exists on a missing node, then data, then deletion")
    a.exists("/n", watch=True)
    b.exists("/n", watch=True)
    a.create("/n")
    b.drain()
    a.data("/n", watch=True)
    a.exists("/n", watch=True)
    b.data("/n", watch=True)
    b.set("/n", b"1")
    a.drain()
    t.title("children")
    a.children("/n", watch=True)
    b.look("getChildren2", "/n", True)
    a.create("/n/c")
    b.drain()
    a.create("/n/d")
    t.title("deletion: data and child watches of one connection give one event")
    a.delete("/n/d")
    a.data("/n/c", watch=True)
    a.children("/n/c", watch=True)
    a.children("/n", watch=True)
    b.children("/n/c", watch=True)
    b.delete("/n/c")
    a.drain()
    t.title("a watch on what cannot be read is not set; on a missing node only by exists")
    a.data("/none", watch=True)
    a.children("/none", watch=True)
    b.create("/none")
    a.drain()
    t.title("setACL fires nothing; the same data fires")
    a.data("/n", watch=True)
    b.set_acl("/n", OPEN)
    b.set("/n", b"1")
    a.drain()
    t.title("ephemerals that go with their session")
    c = t.open("c")
    c.create("/n/e1", flags=1)
    c.create("/n/e2", flags=1)
    a.exists("/n/e1", watch=True)
    b.children("/n", watch=True)
    c.call("closeSession")
    c.closed()
    a.drain()
    b.drain()


@scenario("watch-acl")
def watch_acl(t):
    """An event for a node that the watcher may not read is not sent; the watch is used up."""
    a, b = t.open("a"), t.open("b")
    b.auth("digest", b"u:p")
    secret = [(31, "auth", "")]
    t.title("created where a waits, readable by b only")
    a.exists("/s", watch=True)
    b.create("/s", b"", secret)
    a.drain()
    b.set("/s", b"x")
    a.drain()
    t.title("made unreadable after the watch was set")
    b.create("/o")
    a.data("/o", watch=True)
    a.children("/o", watch=True)
    b.set_acl("/o", secret)
    b.set("/o", b"x")
    b.create("/o/c")
    a.drain()
    a.add_watch("/o", 1)
    b.set("/o", b"y")
    b.create("/o/d")
    a.drain()
    t.title("exists on an unreadable node")
    a.exists("/o", watch=True)


@scenario("watch-persistent")
def persistent(t):
    """addWatch in both modes, beside one-shot watches."""
    a, b = t.open("a"), t.open("b")
    t.title("persistent")
    a.add_watch("/p", 0)
    b.create("/p")
    b.set("/p", b"1")
    b.set("/p", b"2")
    b.create("/p/c")
    b.create("/p/c/d")
    b.delete("/p/c/d")
    b.delete("/p/c")
    a.drain()
    t.title("recursive beside it")
    a.add_watch("/p", 1)
    b.create("/p/c")
    b.create("/p/c/d")
    b.set("/p/c/d", b"x")
    b.delete("/p/c/d")
    a.drain()
    t.title("one-shot beside both")
    a.data("/p", watch=True)
    a.children("/p", watch=True)
    b.set("/p", b"3")
    b.set("/p", b"4")
    b.create("/p/x")
    a.drain()
    t.title("recursive on the root")
    c = t.open("c")
    c.add_watch("/", 1)
    b.create("/q")
    b.create("/q/e", flags=1)
    b.call("closeSession")
    b.closed()
    c.drain()
    a.drain()
    t.title("unknown modes, short bodies")
    for mode in (2, -1):
        a.add_watch("/p", mode)
    a.call("addWatch", Writer().buf("/p"), comment="short body")
    a.call("addWatch", Writer().buf(None).int(0), comment="null path")


@scenario("watch-remove")
def remove(t):
    """checkWatches and removeWatches by type: children 1, data 2, any 3, persistent 4 and 5."""
    a, b = t.open("a"), t.open("b")
    a.create("/n")

    def ask(op, path, kind):
        a.call(op, Writer().buf(path).int(kind), comment=f"{path} type {kind}")

    t.title("nothing is watched")
    for kind in (1, 2, 3, 4, 5):
        ask("checkWatches", "/n", kind)
        ask("removeWatches", "/n", kind)
    t.title("unknown types, short bodies")
    for op in ("checkWatches", "removeWatches"):
        ask(op, "/n", 6)
        ask(op, "/n", 0)
        a.call(op, Writer().buf("/n"), comment="short body")
    for name, watch in (
        ("data", lambda: a.data("/n", True)), ("children", lambda: a.children("/n", True)),
        ("exists", lambda: a.exists("/m", True)), ("persistent", lambda: a.add_watch("/n", 0)),
        ("recursive", lambda: a.add_watch("/n", 1)),
    ):
        t.title(f"a {name} watch")
        path = "/m" if name == "exists" else "/n"
        watch()
        for kind in (1, 2, 3, 4, 5):
            ask("checkWatches", path, kind)
        for kind in (1, 2, 4, 5, 3):
            ask("removeWatches", path, kind)
        ask("checkWatches", path, 3)
    t.title("removed watches are silent; any removes all of a path")
    a.data("/n", True)
    a.children("/n", True)
    a.add_watch("/n", 0)
    a.add_watch("/n", 1)
    ask("removeWatches", "/n", 2)
    b.set("/n", b"x")
    a.drain()
    ask("removeWatches", "/n", 3)
    b.set("/n", b"y")
    b.create("/n/c")
    a.drain()


def set_watches(conn, zxid, data, exist, child, persistent=None, recursive=None, old=False):
    body = Writer().long(zxid).strings(data).strings(exist).strings(child)
    if old:
        return conn.call("setWatches", body, xid=-8)
    body.strings(persistent or []).strings(recursive or [])
    return conn.call("setWatches2", body, xid=-8)


@scenario("watch-again")
def again(t):
    """setWatches and setWatches2 after a new connection: what was missed, what is set again."""
    a, b = t.open("a"), t.open("b")
    for path in ("/same", "/set", "/gone", "/grown", "/shrunk", "/shrunk/c"):
        a.create(path)
    seen = a.last_zxid
    b.set("/set", b"x")
    b.delete("/gone")
    b.create("/grown/c")
    b.delete("/shrunk/c")
    b.create("/came")
    data, exist = ["/same", "/set", "/gone"], ["/came", "/missing", "/same2"]
    child = ["/same", "/grown", "/shrunk", "/gone"]
    t.title("setWatches")
    set_watches(a, seen, data, exist, child, old=True)
    b.set("/same", b"y")
    b.create("/missing")
    b.create("/same/c")
    a.drain()
    t.title("setWatches2 on the session's next connection")
    seen = a.last_zxid
    b.set("/set", b"z")
    c = t.open("c", session=a.session, passwd=a.passwd, zxid=seen)
    a.closed()
    set_watches(c, seen, ["/same", "/set"], ["/later"], ["/same"], ["/p"], ["/r"])
    b.create("/p")
    b.create("/p/c")
    b.create("/r")
    b.create("/r/c")
    b.create("/later")
    b.set("/same", b"1")
    c.drain()
    t.title("nothing to set, null vectors, short bodies")
    set_watches(c, 0, [], [], [], old=True)
    set_watches(c, 0, [], [], [])
    set_watches(c, 0, None, [], [], old=True)
    c.call("setWatches2", Writer().long(0).strings([]), xid=-8, comment="short body")
    c.call("setWatches", Writer().long(0), xid=-8, comment="short body")


@scenario("auth", "-Dzookeeper.DigestAuthenticationProvider.superDigest="
          "super:D/InIHSb7yEEbrWz8b9l71RjZJU=", log=True)
def auth(t):
    """Identities: added, wrong, unknown, super; lists that name them; masked answers."""
    a, b = t.open("a"), t.open("b")
    t.title("digest; several add up")
    a.auth("digest", b"u:p")
    a.auth("digest", b"v:q:r", xid=9)
    a.auth("digest", b"nopassword")
    a.auth("ip", b"ignored")
    a.call("whoAmI")
    t.title("the auth scheme in a list stands for all identities of the connection")
    a.create("/mine", b"m", [(31, "digest", "u:5Q4eHrFfKHE3CVBHwLkJCDR0qWI=")])
    b.create("/one", b"m", [(3, "digest", "u:abc="), (8, "digest", "v:xyz=")])
    b.data("/one")
    b.look("getACL", "/one")
    b.auth("digest", b"w:x")
    b.create("/auth", b"", [(31, "auth", "ignored")])
    b.look("getACL", "/auth")
    a.look("getACL", "/auth")
    a.data("/auth")
    t.title("read but not admin: digests are masked")
    b.create("/masked", b"", [(31, "auth", ""), (1, "world", "anyone")])
    a.look("getACL", "/masked")
    b.look("getACL", "/masked")
    t.title("ip")
    b.create("/ip", b"", [(31, "ip", "127.0.0.1"), (1, "ip", "10.0.0.0/8")])
    a.look("getACL", "/ip")
    b.create("/far", b"", [(31, "ip", "10.1.2.3")])
    a.data("/far")
    t.title("super")
    c = t.open("c")
    c.auth("digest", b"super:test")
    c.call("whoAmI")
    c.data("/far")
    c.set("/zookeeper/config", b"x")
    c.look("getACL", "/auth")
    t.title("unknown schemes: answered and closed")
    for scheme in ("nothing", "world", "sasl", "auth", ""):
        conn = t.open(f"x{len(t.conns)}")
        conn.auth(scheme, b"x")
        conn.closed()


@scenario("sasl")
def sasl(t):
    """A server without a login configuration."""
    a = t.open("a")
    a.call("sasl", Writer().buf(b"token"))
    a.call("sasl", Writer().buf(b""))
    a.drain()


@scenario("enforce-auth", "-Dzookeeper.enforce.auth.enabled=true",
          "-Dzookeeper.enforce.auth.schemes=digest")
def enforce(t):
    """Only sessions with an identity may ask for anything."""
    for op in ("ping", "getData", "create", "whoAmI", "multi"):
        conn = t.open(f"c{len(t.conns)}")
        body = Writer().buf("/").bool(False) if op == "getData" else None
        conn.call(op, body)
        conn.closed()
    t.title("with one")
    a = t.open("a")
    a.auth("digest", b"u:p")
    a.data("/")
    a.create("/x")
    a.call("closeSession")
    a.closed()


@scenario("skip-acl", "-Dzookeeper.skipACL=yes")
def skip_acl(t):
    """With skipACL nobody is refused, and lists are still checked for form."""
    a = t.open("a")
    a.create("/n", b"x", [(1, "digest", "a:b")])
    a.data("/n")
    a.set("/n", b"y")
    a.create("/n/c")
    a.delete("/n/c")
    a.set_acl("/n", [(0, "world", "anyone")])
    a.set_acl("/n", [])
    a.look("getACL", "/n")
