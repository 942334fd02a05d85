"""The handshake in every variant, and what a connection may not send."""

import struct
import time

from .jute import OPEN, Writer
from .registry import scenario


@scenario("connect")
def connect(t):
    """New sessions: with and without the read-only byte, clamped timeouts, odd passwords."""
    t.open("a", variant="new, read-only byte 0")
    t.open("b", ro=True, variant="new, read-only byte 1")
    t.open("c", ro=None, variant="new, no read-only byte")
    t.open("d", version=7, variant="new, protocol version 7")
    t.title("timeouts are clamped to 2 and 20 ticks")
    t.open("e", timeout=0, variant="new, timeout 0")
    t.open("f", timeout=-5, variant="new, negative timeout")
    t.open("g", timeout=2147483647, variant="new, timeout too long")
    t.open("h", timeout=4001, variant="new, timeout kept")
    t.title("passwords of new sessions are not looked at")
    t.open("i", passwd="null", variant="new, null password")
    t.open("j", passwd=b"", variant="new, empty password")
    t.open("k", extra=b"\1\2\3", variant="new, bytes after the record")
    t.title("the sessions work")
    for conn in t.conns:
        conn.drain()


@scenario("connect-refused")
def refused(t):
    """Handshakes that end in a closed connection."""
    a = t.open("a")
    a.create("/x")
    t.title("seen a later zxid than the server has")
    t.open("b", zxid=0x7FFFFFFF, variant="zxid too new")
    t.title("short record")
    c = t.raw("c")
    c.send(Writer().int(0).long(0).int(10000), "connect: short record")
    t.cover("connect", "short record")
    c.closed()
    t.title("a length below zero, and one above jute.maxbuffer")
    d = t.raw("d")
    d.send_bytes(struct.pack(">i", -1), "length -1")
    t.cover("connect", "negative length")
    d.closed()
    e = t.raw("e")
    e.send_bytes(struct.pack(">i", 0x100000), "length 1048576")
    t.cover("connect", "length over jute.maxbuffer")
    e.closed()
    t.title("the session that was there is untouched")
    a.drain()


@scenario("connect-again")
def again(t):
    """Opening a session again: right and wrong password, unknown, ended, while it is open."""
    a = t.open("a")
    a.create("/e", flags=1)
    t.title("from a second connection: the first one is closed")
    b = t.open("b", session=a.session, passwd=a.passwd, variant="again, right password")
    a.closed()
    b.exists("/e")
    t.title("wrong password: refused, and the live connection is closed all the same")
    c = t.raw("c")
    c.connect(session=a.session, passwd=b"wrong password!!", variant="again, wrong password")
    c.closed()
    b.closed()
    t.title("the session lives on")
    d = t.open("d", session=a.session, passwd=a.passwd, ro=None, variant="again, no read-only byte")
    d.exists("/e")
    d.call("closeSession")
    d.closed()
    t.title("ended, unknown, null password")
    e = t.raw("e")
    e.connect(session=a.session, passwd=a.passwd, variant="again, session ended")
    e.closed()
    f = t.raw("f")
    f.connect(session=77, passwd=b"\0" * 16, variant="again, session unknown")
    f.closed()
    g = t.raw("g")
    g.connect(session=77, passwd=b"\0" * 16, ro=None, variant="again, unknown, no read-only byte")
    g.closed()
    t.open("h").exists("/e")


@scenario("words")
def words(t):
    """Four-letter words that answer the same at any time; the rest is tested beside them."""
    for word in ("ruok", "isro"):
        conn = t.raw("w")
        conn.socket.sendall(word.encode())
        answer = b""
        while chunk := conn.socket.recv(4096):
            answer += chunk
        t.line("> w", [word.encode().hex()], word)
        t.line("< w", [answer.hex()], answer.decode())
        t.lines.append("< w closed")
        t.cover("word", word)


@scenario("unknown-operations")
def unknown(t):
    """Operations that no client may send: answered, then the connection is closed."""
    for op in ("notification", "check", "error", 10, 16000, -2):
        t.title(f"operation {op}")
        conn = t.open(f"c{len(t.conns)}")
        conn.call(op, Writer().buf("/").int(-1))
        conn.closed()


@scenario("frames")
def frames(t):
    """The largest frame, one byte more, and bytes after a record."""
    a = t.open("a")
    room = 0xFFFFF - (8 + 4 + 4 + 4 + 4 + 4 + 4 + 5 + 4 + 6 + 4)
    t.title("exactly jute.maxbuffer")
    body = Writer().buf("/big").buf(b"x" * room).acl([(31, "world", "anyone")]).int(0)
    lines = len(t.lines)
    a.call("create", body)
    shorten(t, lines)
    a.exists("/big")
    t.title("bytes after a record are passed over")
    a.call("exists", Writer().buf("/big").bool(False).raw(b"\7\7\7"))
    t.title("one byte more: closed")
    lines = len(t.lines)
    body = Writer().buf("/big2").buf(b"x" * room).acl([(31, "world", "anyone")]).int(0)
    a.request("create", body)
    shorten(t, lines)
    a.closed()


def shorten(t, start):
    """A megabyte of the same byte is shown by its count."""
    for at in range(start, len(t.lines)):
        words = t.lines[at].split(" ")
        words = [f"{w[:2]}*{len(w) // 2}" if len(w) > 100000 else w for w in words]
        t.lines[at] = " ".join(words)


@scenario("close-session", log=True)
def close_session(t):
    """closeSession takes the session's ephemerals with it, in one txn, and closes."""
    a, b = t.open("a"), t.open("b")
    a.create("/p")
    a.create("/p/e1", flags=1)
    b.exists("/p/e1", watch=True)
    b.children("/p", watch=True)
    a.call("closeSession")
    a.closed()
    b.drain()
    b.exists("/p")
    t.title("without ephemerals")
    c = t.open("c")
    c.call("closeSession")
    c.closed()


@scenario("session-expiry", "tickTime=200", log=True)
def expiry(t):
    """A session that goes silent is closed by the server; its ephemerals are seen to go."""
    a, b = t.open("a", timeout=1000), t.open("b", timeout=4000)
    a.create("/e", flags=1)
    b.data("/e", watch=True)
    b.exists("/e", watch=True)
    t.title("a leaves without a word")
    a.socket.close()
    end = time.monotonic() + 15
    lines = len(t.lines)
    while time.monotonic() < end:
        del t.lines[lines:]
        b.drain()
        if any("event" in line for line in t.lines[lines:]):
            break
        time.sleep(0.2)
    b.exists("/e")
    c = t.raw("c")
    c.connect(session=a.session, passwd=a.passwd, variant="again, session expired")
    c.closed()


@scenario("pipelined", log=True)
def pipelined(t):
    """Requests without waiting: answered in their order, each read behind the writes before it."""
    a, b = t.open("a"), t.open("b")
    body = Writer().buf("/n").buf(b"0").acl(OPEN).int(0)
    b.add_watch("/n", 0)
    asked = [("create", a.request("create", body))]
    for n in range(4):
        look = Writer().buf("/n").bool(True)
        change = Writer().buf("/n").buf(b"%d" % n).int(n)
        asked.append(("getData", a.request("getData", look)))
        asked.append(("setData", a.request("setData", change)))
        asked.append(("setData", a.request("setData", change, comment="old version")))
        asked.append(("exists", a.request("exists", Writer().buf("/none").bool(False))))
        asked.append(("sync", a.request("sync", Writer().buf("/n"))))
    asked.append(("delete", a.request("delete", Writer().buf("/n").int(4))))
    asked.append(("exists", a.request("exists", Writer().buf("/n").bool(False))))
    asked.append(("closeSession", a.request("closeSession")))
    t.title("the answers")
    for op, xid in asked:
        a.answer(op, xid)
    a.closed()
    b.drain()


@scenario("restart", log=True, restarts=True)
def restart(t):
    """Sessions and ephemerals are there after a restart; the log goes on in a new file."""
    a, b = t.open("a"), t.open("b")
    a.create("/p", b"1")
    a.create("/p/e", flags=1)
    b.create("/p/s-", flags=2)
    b.set("/p", b"2")
    b.call("closeSession")
    b.closed()
    a.socket.close()
    t.title("the server is ended and started")
    t.server.stop()
    t.server.start()
    c = t.open("c", session=a.session, passwd=a.passwd, zxid=a.last_zxid)
    c.exists("/p/e")
    c.data("/p")
    c.create("/p/s-", flags=2)
    c.call("closeSession")
    c.closed()
    d = t.open("d")
    d.exists("/p/e")
    d.look("getChildren2", "/p", False)
