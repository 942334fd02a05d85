"""One scenario's connections and the transcript they write, line by line."""

import select
import socket
import struct
import time

from .jute import ERRORS, OP_NAMES, OPS, Masks, Reader, Short, Writer, java_passwd

PATIENCE_S = 60


def reply_fields(op, reader):
    """Shows the body of a good reply, field by field."""
    if op in ("create", "sync"):
        reader.str()
    elif op in ("create2", "createContainer", "createTTL"):
        reader.str()
        reader.stat()
    elif op in ("exists", "setData", "setACL"):
        reader.stat()
    elif op in ("getData", "reconfig"):
        reader.buf()
        reader.stat()
    elif op == "getACL":
        reader.vec(reader.acl_entry)
        reader.stat()
    elif op in ("getChildren", "getEphemerals"):
        reader.strings()
    elif op == "getChildren2":
        reader.strings()
        reader.stat()
    elif op in ("addWatch", "getAllChildrenNumber"):
        reader.int()
    elif op == "whoAmI":
        reader.vec(lambda: (reader.str(), reader.str()), unordered=True)


class Transcript:
    """The lines of one golden file, and what they cover."""

    def __init__(self, server):
        self.server, self.lines, self.masks = server, [], Masks()
        self.covered, self.conns = set(), []

    def title(self, text):
        self.lines.append("")
        self.lines.append(f"== {text}")

    def line(self, mark, groups, comment):
        self.lines.append(f"{mark} {' '.join(groups)} # {comment}")

    def cover(self, *row):
        self.covered.add(" ".join(str(word) for word in row))

    def raw(self, name):
        """A connection without a handshake."""
        conn = Conn(self, name)
        self.conns.append(conn)
        return conn

    def open(self, name, **options):
        conn = self.raw(name)
        conn.connect(**options)
        return conn

    def close_all(self):
        for conn in self.conns:
            conn.socket.close()


class Conn:
    """A client connection that shows every frame it sends and gets."""

    def __init__(self, transcript, name):
        self.t, self.name, self.xid = transcript, name, 0
        self.session, self.passwd, self.last_zxid = 0, b"\0" * 16, 0
        self.pending, self.sasl_token = b"", None
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.t.server.port), PATIENCE_S)
                break
            except (ConnectionResetError, BrokenPipeError):
                # Accepted and ended before this call was back: a connection that is closed.
                self.socket, other = socket.socketpair()
                other.close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self.socket.settimeout(PATIENCE_S)

    # --- frames

    def send(self, writer, comment, count=None):
        body = writer.bytes()
        head = struct.pack(">i", len(body) if count is None else count)
        groups = [self.masked(group) for group in writer.groups]
        self.t.line(f"> {self.name}", [head.hex(), *groups], comment)
        self.send_all(head + body)

    def send_all(self, data):
        """A server may close on a length alone, with the rest still on its way: what comes
        next shows that, so it is no failure here."""
        try:
            self.socket.sendall(data)
        except (ConnectionResetError, BrokenPipeError):
            pass

    def masked(self, group):
        """What we send may name a session or a password that the server gave us."""
        for value, name in self.t.masks.sessions.items():
            if group == struct.pack(">q", value).hex():
                return f"[session.{name}={group}]"
            if group == java_passwd(value).hex():
                return f"[passwd.{name}={group}]"
        name = self.t.masks.secrets.get(bytes.fromhex(group))
        return f"[{name}={group}]" if name else group

    def send_bytes(self, data, comment):
        self.t.line(f"> {self.name}", [data.hex()], comment)
        self.send_all(data)

    def read(self, count):
        while len(self.pending) < count:
            try:
                chunk = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                chunk = b""
            if not chunk:
                return None
            self.pending += chunk
        data, self.pending = self.pending[:count], self.pending[count:]
        return data

    def frame(self):
        head = self.read(4)
        if head is None:
            return None
        return self.read(struct.unpack(">i", head)[0])

    def closed(self):
        """Shows what still comes and that the server then ends the connection."""
        while True:
            data = self.frame()
            if data is None:
                self.t.lines.append(f"< {self.name} closed")
                return
            self.show(data, None)

    def silent(self, seconds=0.5):
        """Shows that nothing comes; for events that must not be sent, after a ping's answer."""
        if select.select([self.socket], [], [], seconds)[0]:
            data = self.frame()
            if data is not None:
                self.show(data, None)

    # --- the handshake

    def connect(self, timeout=30000, session=None, passwd=None, ro=False, zxid=0, version=0,
                variant=None, extra=b""):
        write = Writer().int(version).long(zxid).int(timeout).long(session or 0)
        write.buf(b"\0" * 16 if passwd is None else passwd if passwd != "null" else None)
        if ro is not None:
            write.bool(ro)
        write.raw(extra)
        self.send(write, "connect" + (f": {variant}" if variant else ""))
        if variant:
            self.t.cover("connect", variant)
        data = self.frame()
        if data is None:
            self.t.lines.append(f"< {self.name} closed")
            return False
        return self.connected(data)

    def connected(self, data):
        session = struct.unpack(">q", data[8:16])[0]
        if session:
            self.t.masks.sessions.setdefault(session, self.name)
            self.session, self.passwd = session, data[20:36]
        reader = Reader(data, self.t.masks)
        reader.int()
        timeout = reader.int()
        name = self.t.masks.session_name(session) or ""
        reader.long()
        reader.int()
        other = "" if data[20:36] == java_passwd(session) else ".other"
        reader.raw(16, f"passwd{name[7:]}{other}" if session else None)
        reader.rest()
        verdict = "session" if session else "refused"
        self.t.line(
            f"< {self.name}", [f"{len(data):08x}", *reader.groups], f"{verdict}, timeout {timeout}"
        )
        return session != 0

    # --- requests

    def request(self, op, body=None, xid=None, comment=""):
        """Sends; the reply is read by `answer`. So requests can be pipelined."""
        number = OPS.get(op, op)
        if xid is None:
            self.xid += 1
            xid = self.xid
        write = Writer().int(xid).int(number)
        if body:
            write.groups += body.groups
        self.send(write, f"{op} {comment}".strip())
        return xid

    def answer(self, op, xid):
        """Shows everything up to the reply of `xid`; gives its error, or None at the end."""
        while True:
            data = self.frame()
            if data is None:
                self.t.lines.append(f"< {self.name} closed")
                return None
            if self.show(data, op) == xid:
                return self.err

    def call(self, op, body=None, xid=None, comment=""):
        return self.answer(op, self.request(op, body, xid, comment))

    def drain(self):
        """A ping: what was sent to this connection before its answer is shown now."""
        return self.call("ping", xid=-2)

    def show(self, data, op):
        reader = Reader(data, self.t.masks)
        if len(data) < 16:
            reader.rest()
            self.t.line(f"< {self.name}", [f"{len(data):08x}", *reader.groups], "short")
            return None
        xid, zxid, err = reader.int(), reader.long(), reader.int()
        if zxid > 0:
            self.last_zxid = zxid
        comment = f"{op} {ERRORS.get(err, err)}"
        try:
            if xid == -1:
                kind, state, path = reader.int(), reader.int(), reader.str()
                comment = f"event {kind} {path}"
                self.t.cover("event", kind)
            else:
                self.err = err
                self.body(reader, op, err)
        except Short:
            comment += " (short body)"
        reader.rest()
        self.t.line(f"< {self.name}", [f"{len(data):08x}", *reader.groups], comment)
        return xid

    def body(self, reader, op, err):
        if op is None:
            return
        self.t.cover("reply", op, err)
        if op in ("multi", "multiRead") and (err == 0 or op == "multiRead"):
            self.results(reader, op)
        elif op == "sasl":
            self.sasl_token = reader.sasl_token()
        elif err == 0:
            reply_fields(op, reader)

    def results(self, reader, op):
        while reader.at < len(reader.data):
            kind, done, err = reader.int(), reader.bool(), reader.int()
            if done:
                return
            if kind == -1:
                self.t.cover("result", op, "error", reader.int())
                continue
            self.t.cover("result", op, OP_NAMES.get(kind, kind), err)
            reply_fields(OP_NAMES.get(kind, "?"), reader)

    # --- the usual requests, short

    def create(self, path, data=b"", acl=((31, "world", "anyone"),), flags=0, op="create",
               ttl=None, comment=""):
        write = Writer().buf(path).buf(data).acl(acl).int(flags)
        if op == "createTTL":
            write.long(100000 if ttl is None else ttl)
        return self.call(op, write, comment=comment or str(path)[:60].encode(
            "ascii", "backslashreplace").decode().replace("#", "") + f" flags {flags}")

    def delete(self, path, version=-1):
        return self.call("delete", Writer().buf(path).int(version), comment=str(path))

    def set(self, path, data, version=-1):
        body = Writer().buf(path).buf(data).int(version)
        return self.call("setData", body, comment=str(path).encode("unicode_escape").decode())

    def set_acl(self, path, acl, version=-1):
        body = Writer().buf(path).acl(acl).int(version)
        return self.call("setACL", body, comment=str(path))

    def look(self, op, path, watch=None, comment=""):
        """Any read that takes a path and, mostly, a watch flag."""
        body = Writer().buf(path)
        if watch is not None:
            body.bool(watch)
        shown = comment or str(path).encode("unicode_escape").decode()
        return self.call(op, body, comment=shown + (" watch" if watch else ""))

    def exists(self, path, watch=False):
        return self.look("exists", path, watch)

    def data(self, path, watch=False):
        return self.look("getData", path, watch)

    def children(self, path, watch=False):
        return self.look("getChildren", path, watch)

    def add_watch(self, path, mode):
        return self.call("addWatch", Writer().buf(path).int(mode), comment=f"{path} mode {mode}")

    def auth(self, scheme, data, xid=-4):
        body = Writer().int(0).buf(scheme).buf(data)
        return self.call("auth", body, xid=xid, comment=f"{scheme}")
