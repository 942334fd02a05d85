"""A client that a server may well send away: what it is told, byte by byte, and whether it may stay."""

import itertools
import socket
import struct

from golden.jute import OPEN, OPS, Masks, Reader, Writer, java_passwd

from patience import seconds

EVENT = -1

# Servers tell by session and xid which request a txn answers. A client that has moved goes on
# counting, and so does whoever speaks for one session over several connections.
XIDS = itertools.count(1)


class Closed(Exception):
    """The server has ended the connection."""


class Visitor:
    """One connection. `hello` is the server's answer to the connect request without its length:
    None where it closed the connection instead, b"" where it has said nothing at all yet."""

    def __init__(
        self, port, session=0, passwd=None, timeout=20000, read_only=False, seen=0, old=False,
        hears=True,
    ):
        self.xid, self.zxid, self.events, self.buffer = 0, 0, [], b""
        self.session = session
        self.link = socket.create_connection(("127.0.0.1", port), seconds(10))
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        passwd = java_passwd(session) if passwd is None else passwd
        body = Writer().int(0).long(seen).int(int(seconds(timeout))).long(session).buf(passwd)
        self.put(body.bytes() if old else body.bool(read_only).bytes())
        self.hello = None
        if hears:
            self.listen()

    def listen(self):
        """Waits for the answer to the connect request."""
        try:
            self.hello = self.frame()
        except Closed:
            self.hello = None
        if self.hello and len(self.hello) >= 36:
            (self.session,) = struct.unpack(">q", self.hello[8:16])
        return self

    # --- what it was told at first ---

    @property
    def is_welcome(self):
        return bool(self.hello) and len(self.hello) >= 36 and self.session != 0

    @property
    def is_refused(self):
        """As one whose session is not there."""
        return bool(self.hello) and len(self.hello) >= 36 and self.session == 0

    @property
    def is_turned_away(self):
        """Without a word."""
        return self.hello is None

    @property
    def is_read_only(self):
        return bool(self.hello) and self.hello[-1] == 1 and len(self.hello) == 37

    # --- what it says and hears ---

    def put(self, body):
        self.link.sendall(struct.pack(">i", len(body)) + body)

    def frame(self):
        try:
            (count,) = struct.unpack(">i", self.exactly(4))
            return self.exactly(count)
        except ConnectionError:
            raise Closed from None

    def exactly(self, count):
        while len(self.buffer) < count:
            more = self.link.recv(65536)
            if not more:
                raise Closed
            self.buffer += more
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken

    def send(self, op, body=None):
        self.xid = next(XIDS)
        head = struct.pack(">ii", self.xid, OPS[op])
        self.put(head + (body.bytes() if body else b""))
        return self.xid

    def reply(self):
        """Error and reader of the next reply; events are kept on the way."""
        while True:
            data = self.frame()
            xid, zxid, err = struct.unpack(">iqi", data[:16])
            reader = Reader(data[16:], Masks())
            if xid == EVENT:
                kind, _, path = reader.int(), reader.int(), reader.str()
                self.events.append((kind, path))
                continue
            self.zxid = zxid
            return err, reader

    def ask(self, op, body=None):
        """The error of the reply, or "closed"."""
        try:
            self.send(op, body)
            err, self.said = self.reply()
        except (Closed, ConnectionError):
            return "closed"
        return err

    def ping(self):
        self.put(struct.pack(">ii", -2, OPS["ping"]))

    def is_closed(self, within=10):
        """Whether the server ends the connection in this time; what comes before that is lost."""
        self.link.settimeout(seconds(within))
        try:
            while self.link.recv(65536):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        finally:
            self.link.settimeout(seconds(10))
        return True

    def drop(self):
        self.link.close()

    # --- operations by their bodies ---

    def create(self, path, flags=0, op="create"):
        return self.ask(op, create(path, flags))

    def set(self, path, data=b"x"):
        return self.ask("setData", Writer().buf(path).buf(data).int(-1))

    def get(self, path, watch=False):
        return self.ask("getData", Writer().buf(path).bool(watch))

    def owner(self, path):
        """Who owns a node; None where there is none."""
        if self.ask("exists", Writer().buf(path).bool(False)):
            return None
        return struct.unpack(">qqqqiiiqiiq", self.said.take(68))[7]

    def multi(self, *creates):
        """Creates in one multi: the error of each, in their order."""
        body = Writer()
        for path, flags in creates:
            body.int(OPS["create"]).bool(False).int(-1)
            body.groups += create(path, flags).groups
        err = self.ask("multi", body.int(-1).bool(True).int(-1))
        if err:
            return err
        found = []
        while True:
            kind, done, _ = self.said.int(), self.said.bool(), self.said.int()
            if done:
                return found
            if kind == -1:
                found.append(self.said.int())
            else:
                self.said.buf()
                found.append(0)

    def end(self):
        return self.ask("closeSession")


def create(path, flags=0):
    return Writer().buf(path).buf(b"").acl(OPEN).int(flags)
