"""kazoo: every call of its client once, with what a server answers; same lines every time."""

import sys
import threading

from kazoo import exceptions
from kazoo.client import KazooClient
from kazoo.protocol.states import EventType
from kazoo.security import make_acl, make_digest_acl

address = sys.argv[1]
events, arrived = [], threading.Condition()


def stat(s):
    """Everything of a stat but its times, and zxids only by their order."""
    return (
        f"version={s.version} cversion={s.cversion} aversion={s.aversion} "
        f"ephemeral={s.ephemeralOwner != 0} length={s.dataLength} children={s.numChildren} "
        f"czxid<=mzxid={s.czxid <= s.mzxid} czxid<=pzxid={s.czxid <= s.pzxid}"
    )


def attempt(words, call):
    try:
        answer = call()
        print(words, "->", answer if not hasattr(answer, "czxid") else stat(answer))
    except exceptions.ZookeeperError as error:
        print(words, "->", type(error).__name__)


def watcher(name):
    def on_event(event):
        with arrived:
            events.append(f"{name}: {event.type} {event.path}")
            arrived.notify_all()

    return on_event


def awaited(count):
    """Prints the next `count` events in the order in which they came."""
    with arrived:
        if not arrived.wait_for(lambda: len(events) >= count, timeout=60):
            print("missing events, have only", len(events))
        for line in events[:count]:
            print("event", line)
        del events[:count]


def nodes(zk):
    attempt("create /a", lambda: zk.create("/a", b"one"))
    attempt("create /a again", lambda: zk.create("/a", b"one"))
    attempt("create /x/y", lambda: zk.create("/x/y", b""))
    attempt("create /x/y makepath", lambda: zk.create("/x/y", b"", makepath=True))
    attempt("ensure_path", lambda: zk.ensure_path("/x/y/z"))
    attempt("get /a", lambda: zk.get("/a")[0])
    attempt("stat /a", lambda: zk.get("/a")[1])
    attempt("set /a", lambda: zk.set("/a", b"two"))
    attempt("set /a version 0", lambda: zk.set("/a", b"two", version=0))
    attempt("set /a version 1", lambda: zk.set("/a", b"", version=1))
    attempt("exists /a", lambda: zk.exists("/a"))
    attempt("exists /none", lambda: zk.exists("/none"))
    attempt("get /none", lambda: zk.get("/none"))
    attempt("children", lambda: sorted(zk.get_children("/")))
    attempt("children /x", lambda: zk.get_children("/x", include_data=True)[0])
    attempt("children /none", lambda: zk.get_children("/none"))
    attempt("delete /x", lambda: zk.delete("/x"))
    attempt("delete /x recursive", lambda: zk.delete("/x", recursive=True))
    attempt("delete /a version 9", lambda: zk.delete("/a", version=9))
    attempt("delete /a", lambda: zk.delete("/a"))
    attempt("delete /a again", lambda: zk.delete("/a"))
    attempt("sequence", lambda: [zk.create("/s-", sequence=True) for _ in range(3)])
    attempt("ephemeral", lambda: zk.create("/e", b"x", ephemeral=True))
    attempt("stat /e", lambda: zk.exists("/e"))
    attempt("child of /e", lambda: zk.create("/e/c"))
    attempt("ephemeral sequence", lambda: zk.create("/es-", ephemeral=True, sequence=True))
    attempt("include_data", lambda: stat(zk.create("/d", b"12345", include_data=True)[1]))
    attempt("sync", lambda: zk.sync("/d"))
    attempt("large", lambda: zk.create("/large", b"x" * 900000))
    attempt("large back", lambda: len(zk.get("/large")[0]))
    attempt("umlaut", lambda: zk.create("/\u00fc\u4e2d", "\u00fc".encode()))
    attempt("bad path", lambda: zk.create("/\x01"))


def lists(zk, other):
    other.add_auth("digest", "me:pw")
    mine = make_digest_acl("me", "pw", all=True)
    attempt("create with a digest", lambda: other.create("/mine", b"m", acl=[mine]))
    attempt("read by another", lambda: zk.get("/mine"))
    attempt("read by its owner", lambda: other.get("/mine")[0])
    attempt("its list", lambda: [(a.perms, a.id.scheme, a.id.id) for a in
                                 other.get_acls("/mine")[0]])
    attempt("its list for another", lambda: zk.get_acls("/mine"))
    world = make_acl("world", "anyone", read=True)
    attempt("open to read", lambda: other.set_acls("/mine", [mine, world]))
    attempt("read by another", lambda: zk.get("/mine")[0])
    attempt("masked", lambda: [(a.perms, a.id.id) for a in zk.get_acls("/mine")[0]])
    attempt("write by another", lambda: zk.set("/mine", b""))
    attempt("invalid list", lambda: zk.create("/no", acl=[make_acl("nothing", "x", all=True)]))
    attempt("version of a list", lambda: other.set_acls("/mine", [mine], version=9))


def transactions(zk):
    def results(answers):
        return [a if isinstance(a, (str, bool)) else type(a).__name__ for a in answers]

    t = zk.transaction()
    t.create("/t", b"1")
    t.create("/t/c-", sequence=True)
    t.set_data("/t", b"2")
    t.check("/t", 1)
    t.delete("/s-0000000002", -1)
    attempt("good", lambda: results(t.commit()))
    t = zk.transaction()
    t.create("/t2")
    t.check("/t", 7)
    t.delete("/t")
    attempt("bad", lambda: results(t.commit()))
    attempt("nothing of it", lambda: zk.exists("/t2"))


def watches(zk, other):
    zk.exists("/w", watch=watcher("exists"))
    other.create("/w")
    awaited(1)
    zk.get("/w", watch=watcher("data"))
    zk.get_children("/w", watch=watcher("children"))
    other.set("/w", b"1")
    awaited(1)
    other.create("/w/c")
    awaited(1)
    zk.get("/w/c", watch=watcher("data"))
    other.delete("/w/c")
    awaited(1)


def sessions(zk, other):
    """Ephemerals go with their session; a session that is taken over lives on."""
    other.create("/mortal", ephemeral=True)
    zk.exists("/mortal", watch=watcher("exists"))
    other.stop()
    awaited(1)
    attempt("gone", lambda: zk.exists("/mortal"))
    first = KazooClient(hosts=address, timeout=10)
    first.start()
    first.create("/kept", ephemeral=True)
    zk.exists("/kept", watch=watcher("exists"))
    first.set_hosts("127.0.0.1:1")  # so that it does not come back and take the session again
    second = KazooClient(hosts=address, timeout=10, client_id=first.client_id)
    second.start()
    print("same session", second.client_id[0] == first._session_id)
    attempt("kept", lambda: second.exists("/kept"))
    second.stop()
    awaited(1)
    first.stop()


def many(zk):
    """Requests without waiting are answered in their order."""
    asked = [zk.create_async("/many-", sequence=True) for _ in range(300)]
    names = [one.get(timeout=60) for one in asked]
    print("in order", names == sorted(names), "distinct", len(set(names)))
    asked = [zk.set_async("/d", str(n).encode()) for n in range(300)]
    versions = [one.get(timeout=60).version for one in asked]
    print("versions", versions[0], versions[-1], versions == list(range(1, 301)))


def main():
    zk, other = KazooClient(hosts=address, timeout=10), KazooClient(hosts=address, timeout=10)
    zk.start(timeout=60)
    other.start(timeout=60)
    for part in (nodes, lambda z: lists(z, other), transactions, lambda z: watches(z, other), many,
                 lambda z: sessions(z, other)):
        part(zk)
        print("--")
    print("server", zk.command(b"ruok"), zk.server_version()[:2], EventType.CREATED)
    zk.stop()
    zk.close()


main()
