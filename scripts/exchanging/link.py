"""A small client: requests one by one or many in flight, and the whole tree as one value."""

import base64
import hashlib
import os
import re
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from golden.jute import ERRORS, OPEN, OPS, Masks, Reader, Writer  # noqa: E402, F401

PATIENCE_S = 60
SECRET = "super:secret"
HOST = "127.0.0.1"
SUPER = "super:" + base64.b64encode(hashlib.sha1(SECRET.encode()).digest()).decode()
# What the servers themselves count, and must count alike over the same tree.
COUNTS = ("zk_znode_count", "zk_ephemerals_count")


def word(port, name, host=HOST):
    with socket.create_connection((host, port), PATIENCE_S) as link:
        link.sendall(name.encode())
        answer = b""
        while chunk := link.recv(65536):
            answer += chunk
    return answer.decode()


def counts(port, host=HOST):
    found = dict(re.findall(r"^(\w+)\t(\S+)$", word(port, "mntr", host), re.M))
    return {name: found.get(name) for name in COUNTS}


def digests(port):
    return dict(re.findall(r"^([0-9a-f]+): (-?\d+)$", word(port, "hash"), re.M))


class Link:
    """One session. It may be opened again, on the same server or on its successor."""

    def __init__(self, port, timeout=120000, session=0, passwd=b"\0" * 16, patience=PATIENCE_S,
                 host=HOST):
        self.socket = socket.create_connection((host, port), patience)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.xid, self.zxid = 0, 0
        body = Writer().int(0).long(0).int(timeout).long(session).buf(passwd).bool(False).bytes()
        self.socket.sendall(struct.pack(">i", len(body)) + body)
        answer = self.frame()
        (self.session,) = struct.unpack(">q", answer[8:16])
        self.passwd = answer[20:36]
        if not self.session:
            raise AssertionError(f"session 0x{session:x} is refused")

    def frame(self):
        head = self.file.read(4)
        body = self.file.read(struct.unpack(">i", head)[0]) if len(head) == 4 else b""
        if not body:
            raise ConnectionError("the server ended the connection")
        return body

    def send(self, op, body=None):
        self.xid += 1
        data = struct.pack(">ii", self.xid, OPS[op]) + (body.bytes() if body else b"")
        self.socket.sendall(struct.pack(">i", len(data)) + data)
        return self.xid

    def reply(self):
        while True:
            data = self.frame()
            xid, zxid, err = struct.unpack(">iqi", data[:16])
            if xid != -1:
                self.zxid = max(zxid, self.zxid)
                return err, Reader(data[16:], Masks())

    def call(self, op, body=None, expect=0):
        self.send(op, body)
        err, reader = self.reply()
        if expect is not None and err != expect:
            raise AssertionError(f"{op}: {ERRORS.get(err, err)}")
        return reader

    def create(self, path, data=b"", flags=0, acl=OPEN, op="create", ttl=None, expect=0):
        return self.call(op, create(path, data, flags, acl, ttl), expect)

    def set(self, path, data):
        self.call("setData", Writer().buf(path).buf(data).int(-1))

    def delete(self, path):
        self.call("delete", Writer().buf(path).int(-1))

    def multi(self, *parts):
        self.call("multi", multi(*parts))

    def auth(self, secret):
        self.call("auth", Writer().int(0).buf("digest").buf(secret))

    def end(self):
        self.call("closeSession")
        self.drop()

    def drop(self):
        self.file.close()
        self.socket.close()


def create(path, data=b"", flags=0, acl=OPEN, ttl=None):
    body = Writer().buf(path).buf(data).acl(acl).int(flags)
    return body if ttl is None else body.long(ttl)


def multi(*parts):
    body = Writer()
    for op, part in parts:
        body.int(OPS[op]).bool(False).int(-1)
        body.groups += part.groups
    return body.int(-1).bool(True).int(-1)


def look(port, host=HOST):
    """The tree: each node's data, stat and ACL, as clients get them; and the servers' counts."""
    link = Link(port, host=host)
    link.auth(SECRET)
    tree, level = {}, ["/"]
    while level:
        below = []
        for start in range(0, len(level), 100):
            paths = level[start:start + 100]
            for path in paths:
                link.send("getData", Writer().buf(path).bool(False))
                link.send("getACL", Writer().buf(path))
                link.send("getChildren", Writer().buf(path).bool(False))
            for path in paths:
                below += node(link, path, tree)
        level = below
    link.end()
    return {**tree, **counts(port, host)}


def node(link, path, tree):
    err, reader = link.reply()
    count = reader.int()
    data = None if count == -1 else reader.take(count)
    stat = struct.unpack(">qqqqiiiqiiq", reader.take(68))
    acl_err, reader = link.reply()
    acl = reader.vec(reader.acl_entry)
    names_err, reader = link.reply()
    names = reader.vec(reader.str)
    if err or acl_err or names_err:
        raise AssertionError(f"{path}: {err} {acl_err} {names_err}")
    tree[path] = (data, stat, acl)
    return [("" if path == "/" else path) + "/" + name for name in names]


def differences(before, after, what):
    """The first nodes that differ, as one error."""
    wrong = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    if wrong:
        shown = "\n".join(
            f"  {key}: {str(before.get(key))[:300]}\n   now {str(after.get(key))[:300]}"
            for key in wrong[:5]
        )
        raise AssertionError(f"{what}: {len(wrong)} of {len(before)} differ\n{shown}")
