"""What is written into a directory before another server opens it."""

from .link import OPEN, Link, Writer, create, multi

READ_ONLY = [(1, "world", "anyone")]
MIXED = [(31, "ip", "127.0.0.1"), (5, "world", "anyone"), (16, "digest", "user:abcdefghijkl=")]


def kinds(port, top, create2_in_multi=True):
    """One node of each kind below `top`. Gives the session whose ephemerals live on.

    Without `create2_in_multi` for ensembles: Apache 3.8.0 applies no such part of a multi that
    another server has prepared (ZOOKEEPER-4026), and has another tree from then on.
    """
    link = Link(port)
    link.create(top, b"")
    link.create(f"{top}/null", None)
    link.create(f"{top}/empty", b"")
    link.create(f"{top}/large", b"\0\1large" * 20000)
    link.create(f"{top}/näme-日本", "dätä".encode())
    for number in range(5):
        link.create(f"{top}/s-", b"%d" % number, flags=2)
    link.create(f"{top}/c", b"c", flags=4, op="createContainer")
    link.create(f"{top}/c/child", b"", op="create2")
    link.create(f"{top}/c/gone", b"")
    link.delete(f"{top}/c/gone")
    link.create(f"{top}/t", b"t", flags=5, op="createTTL", ttl=2**40 - 1)
    link.create(f"{top}/t/s-", None, flags=6, op="createTTL", ttl=10**9)
    acls(link, top)
    quotas(link, top)
    multis(link, top, create2_in_multi)
    short = Link(port)
    for number in range(3):
        short.create(f"{top}/short{number}", b"", flags=1)
    short.create(f"{top}/c/short", None, flags=3)
    short.end()
    for number in range(3):
        link.create(f"{top}/live{number}", b"live", flags=1)
    link.create(f"{top}/live-", None, flags=3, acl=MIXED)
    return link


def acls(link, top):
    link.auth("user:secret")
    link.create(f"{top}/mine", b"mine", acl=[(31, "auth", "")])
    link.create(f"{top}/read", b"read", acl=READ_ONLY)
    link.create(f"{top}/mixed", b"mixed", acl=MIXED)
    link.create(f"{top}/changed", b"changed")
    link.call("setACL", Writer().buf(f"{top}/changed").acl(MIXED).int(0))
    link.call("setACL", Writer().buf(f"{top}/changed").acl(READ_ONLY).int(0), expect=-103)


def quotas(link, top):
    place = f"/zookeeper/quota{top}"
    link.create(place)
    link.create(f"{place}/zookeeper_limits", b"count=1000,bytes=10000000")
    link.create(f"{place}/zookeeper_stats", b"")
    link.create(f"{top}/counted", b"counted")


def multis(link, top, create2):
    where = lambda path: Writer().buf(f"{top}/{path}")  # noqa: E731
    link.multi(
        ("create", create(f"{top}/m", b"m")), ("check", where("m").int(0)),
        ("setData", where("m").buf(b"mm").int(0)), ("create", create(f"{top}/m/e", b"", flags=1)),
        ("createContainer", create(f"{top}/m/c", b"", flags=4)),
        ("create2" if create2 else "create", create(f"{top}/m/s-", b"", flags=2)),
        ("create", create(f"{top}/m/gone")), ("delete", where("m/gone").int(-1)),
    )
    # The third part fails: nothing of it remains but the txn.
    link.multi(
        ("create", create(f"{top}/never")), ("setData", where("m").buf(b"never").int(-1)),
        ("check", where("m").int(77)), ("delete", where("empty").int(-1)),
    )


def churn(link, top, rounds):
    """Writes of every sort, many in flight; enough that digests are logged on the way."""
    link.create(top, b"")
    sent = 0
    for number in range(rounds):
        name = f"{top}/n{number % 50}"
        op = number % 7
        if op in (0, 1, 2):
            link.send("create", create(name, b"x" * number))
        elif op in (3, 4):
            link.send("setData", Writer().buf(name).buf(b"y" * (number % 300)).int(-1))
        elif op == 5:
            link.send("delete", Writer().buf(name).int(-1))
        else:
            two = create(f"{name}-m", flags=2), create(f"{top}/e-", flags=3)
            link.send("multi", multi(("create", two[0]), ("create", two[1])))
        sent += 1
        if sent == 100:
            sent -= answered(link, 50)
    answered(link, sent)


def answered(link, count):
    for _ in range(count):
        link.reply()
    return count


def numbered(link, top, kill_after, kill):
    """Numbered nodes, many in flight, until the server is killed. Gives the last answered one."""
    link.create(top, b"")
    answers, sent = 0, 0
    try:
        while True:
            if sent - answers < 64 and sent < kill_after + 64:
                link.send("create", create(f"{top}/{sent:06}", b"%d" % sent))
                sent += 1
                continue
            link.reply()
            answers += 1
            if answers == kill_after:
                kill()
    except (ConnectionError, OSError):
        return answers


def wide(link, top, count, size):
    """A tree that takes a while to walk: 40 nodes a parent."""
    link.create(top, b"", acl=OPEN)
    for start in range(0, count, 40):
        parent = f"{top}/p{start:06}"
        parts = [("create", create(parent))]
        parts += [("create", create(f"{parent}/{n:02}", b"v" * size)) for n in range(39)]
        link.multi(*parts)
