"""Seeds of the fuzz targets, made from the golden bytes in the repository."""

import base64
import glob
import hashlib
import os
import re
import struct

WORDS = (
    "conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk wchc wchp wchs"
).split()
# What a target is given at most, seeds included: speed is worth more than length.
MOST_BYTES = {"apply": 2048, "snapshot": 2048, "packed": 1024, "config": 512}


def most_bytes(target):
    return MOST_BYTES.get(target, 4096)


def transcript(path):
    """(mark, connection, bytes) of each line of a golden transcript; sections as ('==', title)."""
    with open(path) as file:
        for line in file:
            body = line.rstrip("\n").split(" # ")[0]
            if body.startswith("== "):
                yield "==", body[3:], b""
            elif re.match(r"[<>] \S+ [0-9a-f\[]", body):
                mark, conn, groups = body.split(" ", 2)
                yield mark, conn, octets(groups)
            elif re.match(r"[ts] ", body):
                yield body[0], "", octets(body[2:])


def octets(groups):
    """None where a long run of one byte is only shown: nothing here needs it."""
    plain = re.sub(r"\[[^=\]]+=([0-9a-f]*)\]", r"\1", groups).replace(" ", "")
    return bytes.fromhex(plain) if re.fullmatch(r"(?:[0-9a-f]{2})*", plain) else b""


def transcripts(root):
    for path in sorted(glob.glob(os.path.join(root, "tests", "wire", "*.golden"))):
        yield list(transcript(path))


def golden(root, pattern):
    for path in sorted(glob.glob(os.path.join(root, "src", "history", "golden", pattern))):
        with open(path, "rb") as file:
            yield file.read()


def sent(root):
    """Whole frames that clients sent, and whether each is its connection's first."""
    for lines in transcripts(root):
        greeted = set()
        for mark, conn, data in lines:
            if mark == ">" and data[:4] == (max(len(data), 4) - 4).to_bytes(4, "big"):
                yield data[4:], conn not in greeted
                greeted.add(conn)


def frames(root):
    for lines in transcripts(root):
        stream = b"".join(data for mark, _, data in lines if mark == ">")
        for at in (1, 7, 255):
            yield bytes([at]) + stream[:2048]


def words(root):
    for word in WORDS:
        for permitted in (0, 1):
            yield bytes([permitted]) + word.encode() + b"\n" * 9
    yield b"\0stmk\0\0\0\0\0\0\0\1"
    yield b"\0\xff\xf4\xff\xfd"
    yield from (b"\0" + struct.pack(">I", len(body)) + body for body in connect(root))


def connect(root):
    yield from (body for body, is_first in sent(root) if is_first and len(body) >= 28)


def request(root):
    yield from (body for body, is_first in sent(root) if not is_first)


def multi(root):
    for body in request(root):
        if body[4:8] in (struct.pack(">i", 14), struct.pack(">i", 22)):
            yield body[8:]


def logs(root):
    """Records without a file's header: those of each transcript together, and Java's logs."""
    for lines in transcripts(root):
        yield b"".join(data for mark, _, data in lines if mark == "t" and len(data) > 16)
    for log in golden(root, "*-log.1"):
        yield log[16:].rstrip(b"\0")


def txn_log(root):
    for log in logs(root):
        yield b"\0" + log
        yield b"\1" + log
    for lines in transcripts(root):
        yield from (b"\0" + data[12:-1] for mark, _, data in lines if mark == "t")


def apply(root):
    for log in logs(root):
        yield b"\0" + log
        yield b"\1" + log


def snapshots(root):
    for lines in transcripts(root):
        file = b""
        for mark, title, data in [*lines, ("==", "", b"")]:
            if mark == "s":
                file += data
            elif mark == "==" and file:
                yield file
                file = b""
    for pattern in ("*-snapshot.0", "*-snapshot.e"):
        yield from golden(root, pattern)


def body_of(file):
    """Up to the path that ends the nodes: a right envelope is put around it."""
    end = file.rfind(b"\0\0\0\1/", 0, file.find(b"\0\0\0\1/") + 5)
    return file[: end + 5] if end >= 0 else file


def snapshot(root):
    for file in snapshots(root):
        yield b"\0" + file
        yield b"\1" + body_of(file)


def packed(root):
    yield from (b"\2" + file for file in golden(root, "*.gz"))
    yield from (b"\3" + file for file in golden(root, "*.snappy"))
    yield b"\3\x82SNAPPY\0\0\0\0\1\0\0\0\1" + b"\0\0\0\x22\x20\x7c" + b"s" * 32
    yield b"\1" + b"snap" * 9
    for text in (b"1 16 99 00000007 1c8a0379\n", b"17", b"log.1a", b"snapshot.2b.gz"):
        yield b"\0" + text


def config(root):
    with open(os.path.join(root, "conf", "zoo.cfg"), "rb") as file:
        sample = file.read()
    for part in sample.replace(b"\n#", b"\n").split(b"\n\n"):
        yield b"dataDir=/d\n" + part
    yield b"dataDir=/d\nclientPort=2181\n\0-Dzookeeper.snapCount=1000 -Xmx1g -Djute.maxbuffer=4096"
    members = b"server.%d=localhost:2888:3888:participant;0.0.0.0:2181\n"
    yield b"dataDir=/d\ninitLimit=5\nsyncLimit=2\n" + members % 1 + members % 2 + members % 3
    yield b"dataDir=/d\nclientPort=2181\nsome.property=some value\n"
    path = os.path.join(root, "src", "config", "golden", "properties.txt")
    with open(path) as file:
        for line in file:
            text = line.split()[0] if line.strip() else "-"
            if re.fullmatch(r"(?:[0-9a-f]{2})+", text):
                yield bytes.fromhex(text)


def jaas(root):
    with open(os.path.join(root, "tests", "wire", "login.conf"), "rb") as file:
        yield file.read()
    for options in (b'a="x\\"\\101"', b"a=b user_c=d", b'a="${name}${/}${{x}}"', b"user_a=b//c\n"):
        yield b"S /* */ { m.M required " + options + b"; n.N optional; };\nT { };"


def sasl(root):
    """Responses to the first challenge of a server whose seed is zeros, and those of clients."""
    nonce = base64.b64encode(hashlib.sha256(bytes(32) + struct.pack(">Q", 1)).digest()[:30])
    for user, password in ((b"bob", b"secret"), (b"bob", b"guess"), (b"eve", b"x")):
        known = hashlib.md5(user + b":zk-sasl-md5:" + password).digest()
        first = hashlib.md5(known + b":" + nonce + b":c").hexdigest().encode()
        second = hashlib.md5(b"AUTHENTICATE:zookeeper/zk-sasl-md5").hexdigest().encode()
        proof = hashlib.md5(b":".join([first, nonce, b"00000001", b"c", b"auth", second]))
        yield (
            b'charset=utf-8,username="%s",realm="zk-sasl-md5",nonce="%s",nc=00000001,cnonce="c",'
            b'digest-uri="zookeeper/zk-sasl-md5",maxbuf=65536,response=%s,qop=auth,x="y"'
            % (user, nonce, proof.hexdigest().encode())
        )
    for body in request(root):
        if body[4:8] == struct.pack(">i", 102) and len(body) > 30:
            yield body[12:]


def stores(root):
    golden = os.path.join(root, "src", "stores", "golden")
    for path in sorted(glob.glob(os.path.join(golden, "**", "*.*"), recursive=True)):
        with open(path, "rb") as file:
            yield (b"\1" if path.endswith(".pem") else b"\0") + file.read()
    # A name as certificates hold it: CN, then sixty letters.
    yield b"\0" + bytes.fromhex("3047 3145 3043 0603 550403 0c3c") + b"n" * 60


def election(root):
    """First messages of both forms, and notifications of all three, by the layout Java writes."""
    server, address = struct.pack(">q", 2), b"127.0.0.1:3882"
    text = b"server.1=127.0.0.1:2881:3881:participant;0.0.0.0:2181\nversion=0"
    fields = struct.pack(">iqqq", 0, 3, 0x500000007, 9)
    old = fields + struct.pack(">qi", 6, 1)
    present = fields + struct.pack(">qii", 6, 2, len(text)) + text
    messages = b"".join(struct.pack(">i", len(m)) + m for m in (fields, old, present))
    for form, said in ((-65536, address), (-65535, address + b"|[::1]:3882|0.0.0.0:1")):
        first = struct.pack(">q", form) + server + struct.pack(">i", len(said)) + said
        for step in (1, 7, 127):
            yield bytes([step << 1]) + first + messages
    yield b"\0" + server + messages
    yield b"\x0f" + messages


QUORUM = """
0000000b0000000000000000 00000014 0000000000000001 00010000 0000000000000000 ffffffff
000000110000000100000000 00000004 00010000 ffffffff
000000120000000000000000 00000004 00000000 ffffffff
0000000d0000000000000000 ffffffff ffffffff
0000000a0000000100000000 00000009 76657273696f6e3d30 ffffffff
000000030000000100000000 ffffffff ffffffff
0000000cffffffffffffffff ffffffff ffffffff
000000050000000100000001 0000000c 010000199ca30000 00002710 ffffffff
00000001ffffffffffffffff 00000014 010000199ca30000 00000000 fffffff6 00002710 ffffffff
00000001ffffffffffffffff 00000016 010000199ca30000 00000002 00000009 000000022f78 \
00000002 000000026970 000000093132372e302e302e31 00000006646967657374 000000036b3a76
00000006ffffffffffffffff 0000000c 010000199ca30000 00002710 ffffffff
00000006ffffffffffffffff 00000009 010000199ca30000 01 ffffffff
000000090000000100000001 00000008 0000000000000003 ffffffff
000000130000000100000001 0000000b 0000000000000003 616263 ffffffff
"""


def quorum(root):
    """Packets of each kind that carries something, alone and as one stream."""
    packets = [bytes.fromhex(line) for line in QUORUM.strip().split("\n")]
    for step in (1, 9, 255):
        yield bytes([step]) + b"".join(packets)
    yield from (b"\xff" + packet for packet in packets)


def keys(root):
    """The words of a dictionary: every key of the configuration."""
    with open(os.path.join(root, "src", "config", "keys.rs")) as file:
        return sorted(set(re.findall(r'"([\w.]{3,})"', file.read())))


def write(root, target, into, words):
    """Writes the seeds of a target; gives their folder and a dictionary, of these words if any."""
    folder = os.path.join(into, target)
    os.makedirs(folder, exist_ok=True)
    found = dict.fromkeys(seed[: most_bytes(target)] for seed in globals()[target](root))
    for n, seed in enumerate(found):
        with open(os.path.join(folder, f"{n:04}"), "wb") as file:
            file.write(seed)
    dictionary = os.path.join(into, target + ".dict")
    usual = {"config": keys(root), "words": WORDS}.get(target, ["/", "world", "anyone"])
    entries = words or usual
    with open(dictionary, "w") as file:
        file.writelines(f'"{entry}"\n' for entry in entries)
    return folder, dictionary
