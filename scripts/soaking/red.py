"""What the soak must refuse: a checker that refuses nothing proves nothing."""

from soaking.load import Writer
from soaking.memory import grows, judge

SESSION = 7


def stat(version=0, owner=0):
    return (1, 1, 0, 0, version, 0, 0, owner, 0, 0, 1)


def written():
    """A writer that was told five of its key and three nodes, and a tree that agrees."""
    writer = Writer([("127.0.0.1", 1)], "w1", "seed", 0)
    writer.session, writer.number, writer.version = SESSION, 5, 5
    writer.kept = {f"t{n}-": f"t{n}-000000000{n}" for n in (1, 2, 3)}
    tree = {
        f"/soak/w1/{name}": (b"", stat(owner=SESSION if n % 2 else 0), [])
        for n, name in enumerate(writer.kept.values(), 1)
    }
    tree["/soak/w1/key"] = (b"5 and more", stat(5), [])
    return writer, tree


def node(path, value, version=0, owner=0):
    return lambda writer, tree: tree.update({f"/soak/w1/{path}": (value, stat(version, owner), [])})


def without(path):
    return lambda writer, tree: tree.pop(f"/soak/w1/{path}")


def asked(what, change):
    def both(writer, tree):
        writer.open = what
        change(writer, tree)
    return both


# What is done to the tree, and whether it may be so.
TREES = {
    "as acknowledged": (lambda writer, tree: None, True),
    "a node lost": (without("t2-0000000002"), False),
    "the key lost": (without("key"), False),
    "the key behind": (node("key", b"4 x", 4), False),
    "the key ahead": (node("key", b"6 x", 6), False),
    "the key ahead, and asked for": (asked(("count",), node("key", b"6 x", 6)), True),
    "the key two ahead": (asked(("count",), node("key", b"7 x", 7)), False),
    "the key written twice": (node("key", b"5 x", 6), False),
    "a node of nobody": (node("t9-0000000009", b""), False),
    "a node twice": (node("t2-0000000009", b""), False),
    "a node that was asked for": (asked(("add", "t4-"), node("t4-0000000004", b"")), True),
    "a node asked to go": (asked(("take", "t1-"), without("t1-0000000001")), True),
    "the wrong one gone": (asked(("take", "t1-"), without("t2-0000000002")), False),
    "an ephemeral without its session": (node("t1-0000000001", b""), False),
    "an ephemeral of another": (node("t1-0000000001", b"", owner=8), False),
}
HOUR = range(0, 3600, 5)
IMAGES = range(900, 3600, 600)
# Samples, whether they grow by more than a per cent an hour, and when images were taken.
SERIES = {
    "flat": ([(at, 50000) for at in HOUR], False),
    "noise": ([(at, 50000 + at * 7919 % 500) for at in HOUR], False),
    "a moment": ([(at, 90000 if 600 < at < 700 else 50000) for at in HOUR], False),
    "a leak": ([(at, 50000 + at) for at in HOUR], True),
    "a leak in noise": ([(at, 50000 + at / 4 + at * 7919 % 500) for at in HOUR], True),
    "one that shrinks": ([(at, 50000 - at) for at in HOUR], False),
    "a step": ([(at, 50000 + (at > 1830) * 1000) for at in HOUR], False, [1830]),
    "the same from elsewhere": ([(at, 50000 + (at > 1830) * 1000) for at in HOUR], True),
    "a leak beside images": ([(at, 50000 + at / 4) for at in HOUR], True, IMAGES),
    "a leak by images": ([(at, 50000 + (at - 300) // 600 * 1000) for at in HOUR], True, IMAGES),
}


def refuses(check):
    try:
        check()
        return False
    except AssertionError:
        return True


def prove():
    """The names of those that are not judged rightly."""
    wrong = []
    for name, (change, is_sound) in TREES.items():
        writer, tree = written()
        change(writer, tree)
        wrong += [name] if refuses(lambda: writer.check(tree)) == is_sound else []
    for name, (series, is_leak, *images) in SERIES.items():
        wrong += [name] if grows(judge(series, *images)) != is_leak else []
    return wrong
