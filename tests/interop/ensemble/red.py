"""What the checkers must refuse: a checker that refuses nothing proves nothing."""

import evidence
import living
from history import History, Writer
from living import BELL, Living, Watchers


def stat(version=0, owner=0):
    return (1, 1, 0, 0, version, 0, 0, owner, 0, 0, 1)


def written():
    """A history of three acknowledged tokens and five of the key, and a tree that agrees."""
    history = History()
    writer = Writer("127.0.0.1:1", "w1")
    history.writers.append(writer)
    writer.session, writer.number, writer.version, writer.made = 77, 5, 5, 4
    writer.tokens = {f"w1:{n}": f"/history/tokens/n-{n:010}" for n in (1, 2, 3)}
    writer.perhaps, writer.lost = {"w1:4"}, 1
    tree = {path: (token.encode(), stat(), []) for token, path in writer.tokens.items()}
    tree["/history/w1"] = (b"5", stat(5), [])
    tree["/history/w1-lives"] = (b"", stat(owner=77), [])
    return history, tree


def change_token(tree, path, data):
    tree[f"/history/tokens/{path}"] = (data, stat(), [])


# What is done to the tree, and whether it may be so.
HISTORIES = {
    "as acknowledged": (lambda tree: None, True),
    "and one that was not answered": (lambda tree: change_token(tree, "n-4", b"w1:4"), True),
    "the key one further": (lambda tree: tree.update({"/history/w1": (b"6", stat(6), [])}), True),
    "a token lost": (lambda tree: tree.pop("/history/tokens/n-0000000002"), False),
    "a token twice": (lambda tree: change_token(tree, "n-9", b"w1:2"), False),
    "one that was not answered twice": (
        lambda tree: [change_token(tree, path, b"w1:4") for path in ("n-4", "n-5")], False,
    ),
    "a token of nobody": (lambda tree: change_token(tree, "n-4", b"w1:5"), False),
    "the key lost": (lambda tree: tree.pop("/history/w1"), False),
    "the key behind": (lambda tree: tree.update({"/history/w1": (b"4", stat(4), [])}), False),
    "the key two further": (lambda tree: tree.update({"/history/w1": (b"7", stat(7), [])}), False),
    "the key written twice": (
        lambda tree: tree.update({"/history/w1": (b"5", stat(6), [])}), False,
    ),
    "the ephemeral gone": (lambda tree: tree.pop("/history/w1-lives"), False),
    "the ephemeral another's": (
        lambda tree: tree.update({"/history/w1-lives": (b"", stat(owner=78), [])}), False,
    ),
}


class Said:
    """A member of which only the log matters."""

    def __init__(self, number, kind, *lines):
        self.id, self.kind, self.lines = number, kind, lines

    def log_mark(self):
        return 0

    def log_text(self, _):
        return "".join(line + "\n" for line in self.lines)


BEGUN = "Synchronizing with Learner sid: 3 maxCommittedLog=0x9 minCommittedLog=0x1 "
BEGUN += "lastProcessedZxid=0x9 peerLastZxid=0x4"
OTHER = BEGUN.replace("sid: 3", "sid: 1")
MEMORY = (BEGUN, "Using committedLog for peer sid: 3", "Sending DIFF zxid=0x9  for peer sid: 3")
LOGGED = (BEGUN, "Use txnlog and committedLog for peer sid: 3", MEMORY[2])
OURS = (BEGUN, "Sending DIFF zxid=0x9  for peer sid: 3: what it misses is in memory")
GOT = "Getting a diff from the leader 0x9"
# (kind, the leader, its lines, the learner's lines, whether it is evidence)
LOGS = [
    ("diff-memory", "apache", MEMORY, (GOT,), True),
    ("diff-memory", "zkd", OURS, (GOT,), True),
    ("diff-memory", "apache", MEMORY, (), False),
    ("diff-memory", "apache", MEMORY, ("Getting a snapshot from leader 0x9", GOT), False),
    ("diff-memory", "apache", (), (GOT,), False),
    ("diff-memory", "apache", MEMORY * 2, (GOT,), False),
    ("diff-memory", "apache", LOGGED, (GOT,), False),
    ("diff-memory", "apache", (OTHER, *MEMORY[1:]), (GOT,), False),
    ("diff-memory", "zkd", MEMORY, (GOT,), False),
    ("diff-log", "apache", LOGGED, (GOT,), True),
    ("diff-log", "apache", (*LOGGED, "Detected gap between end of txnlog: 0x5"), (GOT,), False),
    ("diff-log", "zkd", OURS, (GOT,), False),
    ("trunc", "apache", MEMORY, (GOT,), False),
    ("snap-behind", "apache", (
        BEGUN.replace("peerLastZxid=0x4", "peerLastZxid=0x0"),
        "Sending snapshot last zxid of peer is 0x0, zxid of leader is 0x9",
    ), ("Getting a snapshot from leader 0x9",), False),
]


def refuses(check):
    try:
        check()
        return False
    except AssertionError:
        return True


def watched(**known):
    watchers, one = Watchers(), Living([("127.0.0.1", 1)], "l1")
    one.session = 5
    one.known.update(known)
    watchers.sessions.append(one)
    return watchers, one


def event(kind, path):
    body = living.Writer().int(-1).long(-1).int(0).int(kind).int(3).buf(path)
    return body.bytes()


def watching():
    """(what, whether it is refused as it must be)."""
    watchers, _ = watched(data=4, children=4)
    yield "an event that never comes", refuses(lambda: watchers.heard((5, 4), 0))
    yield "all events heard", not refuses(lambda: watchers.heard((4, 4), 0))
    yield "a living ephemeral gone", refuses(lambda: watchers.check({}))
    _, one = watched()
    one.take(event(3, BELL))
    yield "an event for no watch", bool(one.findings)
    _, one = watched()
    one.armed.add("data")
    one.take(event(3, "/other"))
    yield "an event for another path", bool(one.findings)
    _, one = watched()
    one.armed.add("data")
    one.take(event(3, BELL))
    yield "an event that was asked for", not one.findings and one.due == {"data"}


def prove():
    """The names of those that were not judged rightly, and how many there were."""
    wrong, count = [], 0
    for name, (change, is_sound) in HISTORIES.items():
        history, tree = written()
        change(tree)
        count += 1
        wrong += [name] if refuses(lambda: history.check(tree)) == is_sound else []
    for number, (kind, server, leads, learns, is_evidence) in enumerate(LOGS):
        leader, learner = Said(2, server, *leads), Said(3, "apache", *learns)
        marks = evidence.Marks([leader, learner])
        count += 1
        if refuses(lambda: evidence.synced(marks, kind, leader, learner)) == is_evidence:
            wrong.append(f"log {number}: {kind}")
    for name, is_right in watching():
        count += 1
        wrong += [] if is_right else [name]
    return wrong, count
