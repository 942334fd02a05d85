"""A client of few words over TLS or without."""

import socket
import ssl
import struct

PATIENCE_S = 20


def context(made, client, version=None):
    made_of = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made_of.load_verify_locations(f"{made}/ca.pem")
    if version:
        made_of.minimum_version = made_of.maximum_version = version
    if client:
        made_of.load_cert_chain(f"{made}/{client}.pem")
    return made_of


def connect(port, secure):
    link = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    return secure.wrap_socket(link, server_hostname="127.0.0.1") if secure else link


def word(port, secure, asked):
    """What is answered; nothing where the server ends the connection instead."""
    answer = b""
    try:
        with connect(port, secure) as link:
            link.sendall(asked)
            while chunk := link.recv(4096):
                answer += chunk
    except TimeoutError:
        raise
    except OSError:
        pass
    return answer


def plain_bytes(port, data, wait=True):
    try:
        with connect(port, None) as link:
            link.sendall(data)
            if not wait:
                return b""
            link.settimeout(12)
            return link.recv(4096)
    except OSError as error:
        return b"" if not isinstance(error, TimeoutError) else b"TIMEOUT"


def half_handshake(port, secure):
    """A connection that has said hello and nothing more."""
    link = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = secure.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    link.sendall(outgoing.read())
    return link


def serial(port, secure):
    with connect(port, secure) as link:
        return link.getpeercert()["serialNumber"]


class Session:
    def __init__(self, port, secure):
        self.link = connect(port, secure)
        self.send(struct.pack(">iqiqi16s", 0, 0, 30000, 0, 16, bytes(16)))
        self.receive()

    def send(self, body):
        self.link.sendall(struct.pack(">i", len(body)) + body)

    def receive(self):
        length = struct.unpack(">i", self.exactly(4))[0]
        return self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            chunk = self.link.recv(count - len(data))
            if not chunk:
                raise OSError("the server ended the connection")
            data += chunk
        return data

    def create(self, xid, path):
        """Whether an open node of a hundred bytes was made."""
        name = path.encode()
        body = struct.pack(">iii", xid, 1, len(name)) + name + struct.pack(">i", 100) + bytes(100)
        anyone = struct.pack(">iii", 1, 31, 5) + b"world" + struct.pack(">i", 6) + b"anyone"
        self.send(body + anyone + struct.pack(">i", 0))
        answered, _, error = struct.unpack(">iqi", self.receive()[:16])
        return (answered, error) == (xid, 0)

    def ping(self):
        self.send(struct.pack(">ii", -2, 11))
        return struct.unpack(">i", self.receive()[:4])[0] == -2

    def identities(self):
        self.send(struct.pack(">ii", 1, 107))
        body = self.receive()
        count, at, found = struct.unpack(">i", body[16:20])[0], 20, []
        for _ in range(count):
            pair = []
            for _ in range(2):
                length = struct.unpack(">i", body[at:at + 4])[0]
                pair.append(body[at + 4:at + 4 + length].decode())
                at += 4 + length
            found.append(tuple(pair))
        return found


def whoami(port, secure):
    return Session(port, secure).identities()
