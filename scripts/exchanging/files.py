"""What lies in a directory: snapshots and how fuzzy they are, logs and where they begin."""

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


def newest_node(path):
    """The highest czxid or mzxid of a snapshot's nodes; None where it was not finished."""
    opener = gzip.open if path.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            data = file.read()
        if not data.endswith(b"\0\0\0\1/"):
            return None
        return walk(data)
    except (EOFError, OSError, struct.error):
        return None


def walk(data):
    """The fields up to the mark after the last node; only the zxids are looked at."""
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
    return newest
