"""Shows the records of transaction logs and the parts of snapshots, field by field."""

import gzip
import os
import struct

from .jute import OP_NAMES, Reader, Short


def files(folder, prefix):
    """Java's rule: the second part of the name is a zxid in hex."""
    inside = os.path.join(folder, "version-2")
    found = []
    for name in os.listdir(inside):
        parts = name.split(".")
        if parts[0] == prefix and len(parts) > 1:
            found.append((int(parts[1], 16), os.path.join(inside, name)))
    return [path for _, path in sorted(found)]


def txn_body(kind, reader, end):
    """The fields of one txn record; `end` bounds it where a digest may follow."""
    name = OP_NAMES.get(kind, kind)
    if name == "createSession" or name == "error":
        reader.int()
    elif name == "closeSession":
        if end - reader.at > 12:
            reader.vec(reader.str)
    elif name in ("create", "create2"):
        reader.str(), reader.buf(), reader.vec(reader.acl_entry), reader.bool(), reader.int()
    elif name in ("createContainer", "createTTL"):
        reader.str(), reader.buf(), reader.vec(reader.acl_entry), reader.int()
        if name == "createTTL":
            reader.long()
    elif name in ("delete", "deleteContainer"):
        reader.str()
    elif name in ("setData", "reconfig"):
        reader.str(), reader.buf(), reader.int()
    elif name == "setACL":
        reader.str(), reader.vec(reader.acl_entry), reader.int()
    elif name == "check":
        reader.str(), reader.int()
    elif name == "multi":
        for _ in range(reader.int()):
            sub = reader.int()
            count = reader.int()
            txn_body(sub, reader, reader.at + count)
    return name


def sub_types(kind, entry):
    """The names of the txns inside a multi, for the index."""
    if OP_NAMES.get(kind) != "multi":
        return []
    at = 32
    names = []
    (count,) = struct.unpack_from(">i", entry, at)
    at += 4
    for _ in range(count):
        sub, size = struct.unpack_from(">ii", entry, at)
        names.append(OP_NAMES.get(sub, sub))
        at += 8 + size
    return names


def show_record(t, entry, checksum):
    reader = Reader(entry, t.masks)
    reader.groups += [f"[crc={checksum.hex()}]", f"{len(entry):08x}"]
    reader.long()
    reader.int()
    zxid = reader.long()
    reader.time(reader.take(8), zxid)
    kind = reader.int()
    try:
        name = txn_body(kind, reader, len(entry))
        if len(entry) - reader.at == 12:
            reader.int()
            reader.raw(8, f"digest.{zxid}")
            t.cover("txn", name, "digest")
        else:
            t.cover("txn", name, "plain")
    except Short:
        name = f"{kind} (short)"
    for sub in sub_types(kind, entry):
        t.cover("txn", "multi/" + str(sub))
    reader.rest()
    t.line("t", [*reader.groups, "42"], f"zxid {zxid} {name}")


def show_logs(t, folder):
    for path in files(folder, "log"):
        with open(path, "rb") as log:
            data = log.read()
        t.title(f"file {os.path.basename(path)}")
        t.line("t", [data[:4].hex(), data[4:8].hex(), data[8:16].hex()], "file header")
        at = 16
        while at + 12 <= len(data):
            checksum = data[at:at + 8]
            (count,) = struct.unpack_from(">i", data, at + 8)
            if count <= 0:
                break
            entry = data[at + 12:at + 12 + count]
            if data[at + 12 + count:at + 13 + count] != b"B":
                break
            show_record(t, entry, checksum)
            at += 13 + count
        zeros = data[at:].count(0) == len(data) - at
        t.lines.append(f"t then {'zeros' if zeros else 'other bytes'} to the end of the file")


def snapshot_bytes(path):
    with open(path, "rb") as file:
        data = file.read()
    return gzip.decompress(data) if path.endswith(".gz") else data


def show_snapshot(t, path):
    """Nodes are shown in the order of the file; fresh trees have one child a node at most."""
    data = snapshot_bytes(path)
    reader = Reader(data, t.masks)
    t.title(f"file {os.path.basename(path)}")

    def out(comment):
        t.line("s", reader.groups, comment)
        reader.groups.clear()

    reader.int(), reader.int(), reader.long()
    out("file header")
    reader.vec(lambda: (reader.long(), reader.int()), unordered=True)
    out("sessions")
    reader.vec(lambda: (reader.long(), reader.vec(reader.acl_entry)), unordered=True)
    out("ACL table")
    while (path := reader.str()) != "/":
        reader.buf(), reader.long()
        czxid, mzxid = reader.long(), reader.long()
        reader.time(reader.take(8), czxid)
        reader.time(reader.take(8), mzxid)
        reader.int(), reader.int(), reader.int(), reader.long(), reader.long()
        out(f"node '{path}'")
    out("end of nodes")
    show_seal(t, reader, out, "nodes")
    if len(data) - reader.at >= 20 + 13:
        zxid = reader.long()
        reader.int()
        reader.raw(8, f"digest.{zxid}" if zxid else None)
        out("digest")
        t.cover("trailer", "digest" if zxid else "digest-none")
        show_seal(t, reader, out, "digest")
    if len(data) - reader.at >= 8 + 13:
        reader.long()
        out("last processed zxid")
        t.cover("trailer", "lastProcessedZxid")
        show_seal(t, reader, out, "lastProcessedZxid")
    t.cover("trailer", "left-" + str(len(data) - reader.at))


def show_seal(t, reader, out, name):
    reader.raw(8, "adler")
    reader.str()
    out("seal")
    t.cover("trailer", "seal-" + name)
