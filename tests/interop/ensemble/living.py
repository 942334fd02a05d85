"""Sessions that live through everything, with an ephemeral and two watches each.

Every other client here leaves the watches to its library, and kazoo does not set them again on
another server. This one does as Java's client: it comes back with its session, its password and
the last zxid it has seen, and sets its watches relative to that. Whoever misses an event, sees one
that means nothing, or goes back in time is a finding.
"""

import select
import socket
import struct
import threading
import time

from golden.jute import OPEN, OPS, Masks, Reader, Writer

from patience import Deadline, seconds

TIMEOUT_MS = int(seconds(100000))
MOVE_S = 40
PING_S = 2
PING, EVENT, WATCHES = -2, -1, -8
DATA_CHANGED, CHILDREN_CHANGED = 3, 4
BELL = "/bell"


class Refused(Exception):
    """The server does not know the session any more."""


class Living(threading.Thread):
    """One session. `known` are the zxids of the last changes that it has read of; a watch is
    `armed` until its event comes, and then the change is `due` to be read, which arms it again."""

    def __init__(self, places, name):
        super().__init__(daemon=True, name=name)
        self.places, self.turn = list(places), 0
        self.session, self.passwd, self.zxid = 0, b"\0" * 16, 0
        self.path = f"/living/{name}"
        self.known, self.armed, self.due = {"data": 0, "children": 0}, set(), set()
        self.events, self.moves = 0, 0
        self.findings, self.ending = [], threading.Event()
        self.link, self.buffer, self.xid = None, b"", 0

    # --- its life ---

    def begin(self):
        self.attach()
        self.ask("create", create("/living", b""), allow=(-110,))
        self.ask("create", create(BELL, b"0"), allow=(-110,))
        self.ask("create", create(self.path, b"", flags=1))
        for what in self.known:
            self.look(what)
        self.start()

    def run(self):
        spoke = time.monotonic()
        while not self.ending.is_set() and not self.findings:
            try:
                if self.link is None:
                    self.attach()
                    self.set_watches()
                    spoke = time.monotonic()
                if self.buffer or select.select([self.link], [], [], 0.1)[0]:
                    self.take(self.frame())
                for what in sorted(self.due):
                    if not self.look(what):
                        self.findings.append(f"an event for {what}, and nothing had changed")
                if time.monotonic() - spoke > PING_S:
                    self.send(PING, OPS["ping"])
                    spoke = time.monotonic()
            except Refused as refused:
                self.findings.append(str(refused))
            except OSError:
                self.drop()
        self.drop()

    def attach(self):
        """To the next server that takes the session, or begins it."""
        end = Deadline(MOVE_S)
        while not self.ending.is_set():
            place = self.places[self.turn % len(self.places)]
            self.turn += 1
            try:
                return self.connect(place)
            except OSError:
                self.drop()
                if end.is_over():
                    raise Refused(f"no server takes session 0x{self.session:x}") from None
                time.sleep(0.05)
        raise OSError("it is over")

    def connect(self, place):
        self.link = socket.create_connection(place, seconds(5))
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        body = Writer().int(0).long(self.zxid).int(TIMEOUT_MS).long(self.session)
        body = body.buf(self.passwd).bool(False).bytes()
        self.link.sendall(struct.pack(">i", len(body)) + body)
        answer = self.unread()
        (session,) = struct.unpack(">q", answer[8:16])
        if not session:
            raise Refused(f"session 0x{self.session:x} is refused")
        if self.session and session != self.session:
            raise Refused(f"session 0x{self.session:x} became 0x{session:x}")
        self.moves += bool(self.session)
        self.session, self.passwd = session, answer[20:36]

    def drop(self):
        if self.link is not None:
            self.link.close()
        self.link = None

    def halt(self):
        """Stops listening; the session lives on until its timeout."""
        self.ending.set()
        self.join(seconds(30))

    # --- what it says ---

    def send(self, xid, op, body=None):
        data = struct.pack(">ii", xid, op) + (body.bytes() if body else b"")
        self.link.sendall(struct.pack(">i", len(data)) + data)

    def ask(self, op, body, allow=()):
        """A request and its answer."""
        self.xid += 1
        self.send(self.xid, OPS[op], body)
        while True:
            data = self.frame()
            xid, _, err = struct.unpack(">iqi", data[:16])
            if xid != self.xid:
                self.take(data)
                continue
            if err and err not in allow:
                raise Refused(f"{op} is answered with {err}")
            return Reader(data[16:], Masks())

    def set_watches(self):
        """As on a server that does not know them: what has changed meanwhile is an event now."""
        paths = [[BELL] if what in self.armed else [] for what in ("data", "children")]
        body = Writer().long(self.zxid).strings(paths[0]).strings([]).strings(paths[1])
        self.send(WATCHES, OPS["setWatches"], body)

    def look(self, what):
        """Reads it and leaves a watch; whether it is newer than what was known."""
        if what == "data":
            reader = self.ask("getData", Writer().buf(BELL).bool(True))
            reader.buf()
            zxid = stat_of(reader)[1]
        else:
            reader = self.ask("getChildren2", Writer().buf(BELL).bool(True))
            reader.vec(reader.str)
            zxid = stat_of(reader)[10]
        known, self.known[what] = self.known[what], zxid
        if zxid < known:
            self.findings.append(f"{what} of 0x{zxid:x} were shown after those of 0x{known:x}")
        self.due.discard(what)
        self.armed.add(what)
        return zxid > known

    # --- what it is told ---

    def frame(self):
        data = self.unread()
        self.zxid = max(self.zxid, struct.unpack(">q", data[4:12])[0])
        return data

    def unread(self):
        return self.exactly(struct.unpack(">i", self.exactly(4))[0])

    def exactly(self, count):
        while len(self.buffer) < count:
            more = self.link.recv(65536)
            if not more:
                raise ConnectionError("the server ended the connection")
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def take(self, data):
        xid, _, err = struct.unpack(">iqi", data[:16])
        if xid == WATCHES and err:
            self.findings.append(f"setWatches is answered with {err}")
        if xid != EVENT:
            return
        reader = Reader(data[16:], Masks())
        kind, _, path = reader.int(), reader.int(), reader.str()
        what = {DATA_CHANGED: "data", CHILDREN_CHANGED: "children"}.get(kind)
        if path != BELL or what not in self.armed:
            self.findings.append(f"an event of kind {kind} for {path}, which nobody asked for")
            return
        self.events += 1
        self.armed.discard(what)
        self.due.add(what)


def stat_of(reader):
    return struct.unpack(">qqqqiiiqiiq", reader.take(68))


def create(path, data, flags=0):
    return Writer().buf(path).buf(data).acl(OPEN).int(flags)


class Watchers:
    """Several of them, and the bell they listen to."""

    def __init__(self):
        self.sessions, self.rung = [], 0

    def begin(self, members, count=3):
        """Each begins at another member."""
        places = [(member.host, member.client_port) for member in members]
        for n in range(count):
            begin = n % len(places)
            one = Living(places[begin:] + places[:begin], f"l{n + 1}")
            self.sessions.append(one)
            one.begin()

    def ring(self, link):
        """Changes what all of them watch."""
        self.rung += 1
        link.set(BELL, b"%d" % self.rung)
        data = link.zxid
        link.create(f"{BELL}/{self.rung}", b"")
        return data, link.zxid

    def heard(self, rung, limit_s=30):
        """Until each of them was told of it by an event."""
        data, children = rung
        end = Deadline(limit_s)
        for one in self.sessions:
            while one.known["data"] < data or one.known["children"] < children:
                self.sound()
                if end.is_over():
                    raise AssertionError(
                        f"session 0x{one.session:x} ({one.name}) was not told of 0x{data:x} and "
                        f"0x{children:x}: it knows {one.known}"
                    )
                time.sleep(0.02)
        self.sound()

    def sound(self):
        for one in self.sessions:
            if one.findings:
                raise AssertionError(f"session of {one.name}: {'; '.join(one.findings)}")

    def halt(self):
        for one in self.sessions:
            one.halt()

    def check(self, tree):
        for one in self.sessions:
            if one.path not in tree or tree[one.path][1][7] != one.session:
                raise AssertionError(f"the ephemeral of session 0x{one.session:x} is gone")
