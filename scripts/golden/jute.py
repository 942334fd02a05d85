"""Jute in and out as named groups of hex, so that a transcript shows each field apart."""

import re
import struct

OPS = {
    "notification": 0, "create": 1, "delete": 2, "exists": 3, "getData": 4, "setData": 5,
    "getACL": 6, "setACL": 7, "getChildren": 8, "sync": 9, "ping": 11, "getChildren2": 12,
    "check": 13, "multi": 14, "create2": 15, "reconfig": 16, "checkWatches": 17,
    "removeWatches": 18, "createContainer": 19, "deleteContainer": 20, "createTTL": 21,
    "multiRead": 22, "auth": 100, "setWatches": 101, "sasl": 102, "getEphemerals": 103,
    "getAllChildrenNumber": 104, "setWatches2": 105, "addWatch": 106, "whoAmI": 107,
    "createSession": -10, "closeSession": -11, "error": -1,
}
OP_NAMES = {number: name for name, number in OPS.items()}
ERRORS = {
    0: "OK", -1: "SYSTEMERROR", -2: "RUNTIMEINCONSISTENCY", -5: "MARSHALLINGERROR",
    -6: "UNIMPLEMENTED", -8: "BADARGUMENTS", -101: "NONODE", -102: "NOAUTH", -103: "BADVERSION",
    -108: "NOCHILDRENFOREPHEMERALS", -110: "NODEEXISTS", -111: "NOTEMPTY", -112: "SESSIONEXPIRED",
    -114: "INVALIDACL", -115: "AUTHFAILED", -121: "NOWATCHER", -123: "RECONFIGDISABLED",
    -124: "SESSIONCLOSEDREQUIRESASLAUTH", -125: "QUOTAEXCEEDED", -127: "THROTTLEDOP",
}
OPEN = [(31, "world", "anyone")]


class Writer:
    """Builds a record; `groups` are its fields in hex, `bytes()` the whole."""

    def __init__(self):
        self.groups = []

    def raw(self, data):
        if data:
            self.groups.append(data.hex())
        return self

    def bool(self, value):
        return self.raw(b"\1" if value else b"\0")

    def int(self, value):
        return self.raw(struct.pack(">i", value))

    def long(self, value):
        return self.raw(struct.pack(">q", value))

    def buf(self, data):
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        if data is None:
            return self.int(-1)
        return self.int(len(data)).raw(data)

    def vec(self, items, write):
        if items is None:
            return self.int(-1)
        self.int(len(items))
        for item in items:
            write(item)
        return self

    def strings(self, items):
        return self.vec(items, self.buf)

    def acl(self, entries):
        return self.vec(entries, lambda e: self.int(e[0]).buf(e[1]).buf(e[2]))

    def bytes(self):
        return bytes.fromhex("".join(self.groups))


class Short(Exception):
    """A record ended before its fields did."""


class Reader:
    """Takes a record apart; fields go to `groups`, masked ones as [name=hex]."""

    def __init__(self, data, masks):
        self.data, self.at, self.groups, self.masks = data, 0, [], masks

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise Short()
        self.at += count
        return self.data[self.at - count:self.at]

    def show(self, data, mask=None):
        if data:
            self.groups.append(f"[{mask}={data.hex()}]" if mask else data.hex())

    def raw(self, count, mask=None):
        data = self.take(count)
        self.show(data, mask)
        return data

    def bool(self):
        return self.raw(1) != b"\0"

    def int(self):
        return struct.unpack(">i", self.raw(4))[0]

    def long(self, mask=None):
        data = self.take(8)
        value = struct.unpack(">q", data)[0]
        self.show(data, mask or self.masks.session_name(value))
        return value

    def buf(self):
        count = self.int()
        return None if count == -1 else self.raw(count)

    def sasl_token(self):
        """A buffer whose nonce, or proof, is masked."""
        count = self.int()
        if count == -1:
            return None
        start = self.at
        found = re.search(rb'(?:nonce="|rspauth=)([^",]*)', self.data[start:start + count])
        if found:
            name = "nonce" if found.group(0).startswith(b"nonce") else "rspauth"
            self.masks.secrets[found.group(1)] = name
            self.raw(found.start(1))
            self.raw(len(found.group(1)), name)
        self.raw(start + count - self.at)
        return self.data[start:self.at]

    def str(self):
        data = self.buf()
        return None if data is None else data.decode("utf-8", "replace")

    def vec(self, read, unordered=False):
        """A vector; where Java's order is that of a hash set, items are shown sorted."""
        count = self.int()
        shown = len(self.groups)
        items, pieces = [], []
        for _ in range(max(count, 0)):
            start = len(self.groups)
            items.append(read())
            pieces.append(self.groups[start:])
        if unordered:
            pieces.sort()
            self.groups[shown:] = [group for piece in pieces for group in piece]
        return items

    def acl_entry(self):
        return self.int(), self.str(), self.str()

    def strings(self):
        return self.vec(self.str, unordered=True)

    def time(self, data, zxid):
        value = struct.unpack(">q", data)[0]
        self.show(data, self.masks.time_name(value, zxid))

    def stat(self):
        """Times are named after the txn that set them: equal names must mean equal times."""
        czxid, mzxid = struct.unpack(">qq", self.take(16))
        self.show(struct.pack(">q", czxid))
        self.show(struct.pack(">q", mzxid))
        self.time(self.take(8), czxid)
        self.time(self.take(8), mzxid)
        for _ in range(3):
            self.int()
        self.long()
        self.int()
        self.int()
        self.long()

    def rest(self):
        self.raw(len(self.data) - self.at)


class Masks:
    """Names for what differs from run to run: session ids, passwords, nonces, times, nothing
    else."""

    def __init__(self):
        self.sessions, self.times = {}, {}
        # Nonces and proofs of SASL, and what each is called.
        self.secrets = {}

    def session_name(self, value):
        name = self.sessions.get(value)
        return f"session.{name}" if name else None

    def time_name(self, value, zxid):
        if value == 0:
            return None
        known = self.times.setdefault(zxid, value)
        return f"time.{zxid}" if known == value else f"time.{zxid}.differs"


def java_passwd(session):
    """The 16 bytes that every server derives from a session id."""
    seed = ((session & (2**64 - 1)) ^ 0xB3415C00 ^ 0x5DEECE66D) & (2**48 - 1)
    out = b""
    for _ in range(4):
        seed = (seed * 0x5DEECE66D + 0xB) & (2**48 - 1)
        out += struct.pack("<I", (seed >> 16) & 0xFFFFFFFF)
    return out
