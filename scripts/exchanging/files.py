"""What lies in a directory: snapshots, whether they were finished, and how fuzzy they are."""

import gzip
import os
import struct


def listed(folder, prefix):
    inside = os.path.join(folder, "version-2")
    found = []
    for name in os.listdir(inside):
        parts = name.split(".")
        if parts[0] == prefix and len(parts) > 1:
            found.append((int(parts[1], 16), os.path.join(inside, name)))
    return sorted(found)


def content(path):
    """A snapshot's bytes as they were before compression; None where it was not finished."""
    try:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            data = file.read()
        if path.endswith(".snappy"):
            data = inflated(data)
        return data if data.endswith(b"\0\0\0\1/") else None
    except (EOFError, IndexError, OSError, struct.error):
        return None


def inflated(data):
    """Snappy's blocks, each behind its length, as Java frames them."""
    at, out = 16, bytearray()
    while at < len(data):
        (size,) = struct.unpack_from(">i", data, at)
        if at + 4 + size > len(data):
            raise EOFError
        out += block(data[at + 4:at + 4 + size])
        at += 4 + size
    return bytes(out)


def block(data):
    at, out = 0, bytearray()
    while data[at] & 0x80:
        at += 1
    at += 1  # past the length before compression
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            size = (tag >> 2) + 1
            if size > 60:
                more = size - 60
                size = int.from_bytes(data[at:at + more], "little") + 1
                at += more
            out += data[at:at + size]
            at += size
            continue
        wide = (0, 1, 2, 4)[tag & 3]
        back = int.from_bytes(data[at:at + wide], "little")
        size = (tag >> 2) + 1
        if wide == 1:
            size, back = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | back
        at += wide
        start = len(out) - back
        for n in range(size):
            out.append(out[start + n])
    return out


def newest_node(path):
    """The highest czxid or mzxid of a snapshot's nodes; None where it was not finished."""
    data = content(path)
    return walk(data)[0] if data else None


def digest_zxid(path):
    """The zxid that a finished snapshot gives its digest; None where it gives none."""
    data = content(path)
    at = walk(data)[1] + 13 if data else 0
    return struct.unpack_from(">q", data, at)[0] if data and at + 20 < len(data) else None


def walk(data):
    """The highest zxid of the nodes, and where the mark after the last of them ends."""
    at = 16

    def number(form, size):
        nonlocal at
        at += size
        return struct.unpack_from(form, data, at - size)[0]

    def text():
        nonlocal at
        count = max(number(">i", 4), 0)
        at += count
        return data[at - count:at]

    sessions = number(">i", 4)
    at += 12 * sessions
    for _ in range(number(">i", 4)):
        number(">q", 8)
        for _ in range(number(">i", 4)):
            number(">i", 4), text(), text()
    newest = 0
    while text() != b"/":
        text(), number(">q", 8)
        newest = max(newest, number(">q", 8), number(">q", 8))
        at += 44
    return newest, at
