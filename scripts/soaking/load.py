"""Sessions that write through everything and know what must be there.

A writer has a folder of its own in the tree. It counts a node upward by expected versions, makes
sequential nodes, every other one ephemeral, deletes the oldest of them, and reads all of it back.
A request whose answer was lost has happened once or not at all, which is found out after sync;
anything else is a finding. What it holds is bounded, so that the servers' memory has no reason to
grow. `Living` (tests/interop/ensemble) brings the session: it moves to another server, keeps its
id, and waits for watches on a bell that everybody hears.
"""

import os
import random
import struct
import time

from golden.jute import Writer as Record
from living import Living, Refused, create, stat_of

NO_NODE, EXISTS = -101, -110
TOP = "/soak"
KEPT = 40
PERSISTENT, EPHEMERAL = 2, 3  # both sequential
BYTES = 800


class Writer(Living):
    """One session that writes until it is halted."""

    def __init__(self, places, name, seed, pause_s):
        super().__init__(places, name)
        self.random, self.pause_s = random.Random(seed), pause_s
        self.folder, self.key = f"{TOP}/{name}", f"{TOP}/{name}/key"
        self.number, self.version = 0, 0
        self.made, self.kept = 0, {}  # token to its name, in the order of creation
        self.open = None  # what is asked for and not answered
        self.acknowledged, self.lost, self.reads = 0, 0, 0
        self.last_at = time.monotonic()

    def begin(self):
        self.attach()
        for path in TOP, self.folder, self.key:
            self.ask("create", create(path, b"0"), allow=(EXISTS,))
        self.start()

    def run(self):
        while not self.ending.is_set() and not self.findings:
            try:
                self.step()
            except Refused as refused:
                self.findings.append(str(refused))
            except OSError:
                self.drop()
            self.ending.wait(self.pause_s)
        self.drop()

    def step(self):
        if self.link is None:
            self.attach()
        if self.open:
            self.lost += 1
            self.resolve()
        self.count()
        self.add()
        # More than one where a fault came between a node and the one that makes room for it.
        while len(self.kept) > KEPT:
            self.take_away()
        if self.random.random() < 0.2:
            self.read_all()
        self.read()
        self.last_at = time.monotonic()

    def do(self, change, op, body):
        """A write: until its answer is there nobody knows of it."""
        self.open = change
        reader = self.ask(op, body)
        self.open = None
        self.acknowledged += 1
        return reader

    def count(self):
        value = b"%d " % (self.number + 1) + os.urandom(BYTES)
        body = Record().buf(self.key).buf(value).int(self.version)
        version = stat_of(self.do(("count",), "setData", body))[4]
        if version != self.version + 1:
            self.findings.append(f"{self.key}: version {version} follows {self.version}")
        self.number, self.version = self.number + 1, version

    def add(self):
        self.made += 1
        token = f"t{self.made}-"
        kind = EPHEMERAL if self.made % 2 else PERSISTENT
        body = create(f"{self.folder}/{token}", token.encode(), flags=kind)
        path = self.do(("add", token), "create", body).str()
        self.kept[token] = path.rsplit("/", 1)[1]

    def take_away(self):
        token, name = next(iter(self.kept.items()))
        body = Record().buf(f"{self.folder}/{name}").int(-1)
        self.do(("take", token), "delete", body)
        del self.kept[token]

    def resolve(self):
        """What was proposed comes before the answer to sync."""
        self.ask("sync", Record().buf(self.folder))
        what, *rest = self.open
        if what == "count":
            found = self.value()
            expected = [(self.number, self.version), (self.number + 1, self.version + 1)]
            if found not in expected:
                self.findings.append(f"{self.key} is {found}, which is none of {expected}")
            self.number, self.version = found
        else:
            token = rest[0]
            names = [name for name in self.names() if name.startswith(token)]
            if len(names) > 1:
                self.findings.append(f"{token} was written once and is there as {names}")
            if names:
                self.kept[token] = names[0]
            else:
                self.kept.pop(token, None)
        self.open = None

    def value(self):
        reader = self.ask("getData", Record().buf(self.key).bool(False))
        data = reader.buf()
        return int(data.split(b" ", 1)[0]), stat_of(reader)[4]

    def names(self):
        reader = self.ask("getChildren", Record().buf(self.folder).bool(False))
        return [name for name in reader.vec(reader.str) if name != "key"]

    def read(self):
        """A session sees what it was told, wherever it is by now."""
        for _ in range(4):
            found = self.value()
            self.reads += 1
            if found != (self.number, self.version):
                self.findings.append(
                    f"{self.key} reads {found} after {(self.number, self.version)}")

    def read_all(self):
        names, expected = sorted(self.names()), sorted(self.kept.values())
        self.reads += 1
        if names != expected:
            self.findings.append(f"{self.folder} has {names}, not {expected}")

    def check(self, tree):
        """What is in the tree in the end is what was acknowledged, and at most what was asked for
        and never answered."""
        if self.key not in tree:
            raise AssertionError(f"{self.key} is gone")
        data, stat, _ = tree[self.key]
        found, expected = (int(data.split(b" ", 1)[0]), stat[4]), (self.number, self.version)
        ahead = (self.number + 1, self.version + 1) if self.open == ("count",) else expected
        if found not in (expected, ahead):
            raise AssertionError(f"{self.key} is {found}, where {expected} was acknowledged")
        names = {path.rsplit("/", 1)[1] for path in tree
                 if path.startswith(self.folder + "/")} - {"key"}
        kept = dict(self.kept)
        token = self.open[1] if self.open and len(self.open) > 1 else None
        if token:
            kept.pop(token, None)
            names = {name for name in names if not name.startswith(token)}
        if names != set(kept.values()):
            gone, strange = set(kept.values()) - names, names - set(kept.values())
            raise AssertionError(f"{self.folder}: gone {sorted(gone)[:5]}, of nobody or taken away "
                                 f"{sorted(strange)[:5]}")
        for name in kept.values():
            owner = tree[f"{self.folder}/{name}"][1][7]
            number = int(name[1:].split("-", 1)[0])
            if owner != (self.session if number % 2 else 0):
                raise AssertionError(f"{self.folder}/{name} belongs to 0x{owner:x}")


def fill(link, count, size):
    """Nodes that nobody touches again: a server without data has nothing to grow beside."""
    link.create("/filled", b"", expect=None)
    data = struct.pack(">Q", count) * (size // 8)
    under_way = 0
    for n in range(count):
        link.send("create", create(f"/filled/n{n:06}", data))
        under_way += 1
        if under_way == 200:
            under_way -= drain(link, 100)
    drain(link, under_way)


def pour(link, count, size):
    """So many writes of one node, for the room that they take in logs and in memory."""
    link.create("/poured", b"", expect=None)
    data, under_way = b"p" * size, 0
    for _ in range(count):
        link.send("setData", Record().buf("/poured").buf(data).int(-1))
        under_way += 1
        if under_way == 200:
            under_way -= drain(link, 100)
    drain(link, under_way)


def drain(link, count):
    for _ in range(count):
        err, _ = link.reply()
        if err not in (0, EXISTS):
            raise AssertionError(f"a write is answered with {err}")
    return count
