"""One client's SASL exchange by GSSAPI, token by token, and everything that a client may do
wrong: what the server says to it, in lines that are the same every time."""

import contextlib
import os
import struct

import gssapi
from golden.jute import Writer
from golden.wire import Transcript

NOTHING = b"\x01\0\0\0"
SERVICE = "zookeeper/localhost@"


class Server:
    """What a transcript wants to know of it."""

    def __init__(self, port):
        self.port = port


class Client:
    """Somebody with tickets, connected."""

    def __init__(self, port, tickets=None, mutual=False, realm="ZKD.TEST", mech=None,
                 service=None):
        self.conn = Transcript(Server(port)).open("c")
        self.tickets, self.lines, self.first = tickets, [], None
        if not tickets:
            return
        with environment(tickets):
            flags = [gssapi.RequirementFlag.integrity]
            flags += [gssapi.RequirementFlag.mutual_authentication] * mutual
            name = gssapi.Name((service or SERVICE) + realm, gssapi.NameType.kerberos_principal)
            self.context = gssapi.SecurityContext(
                name=name, creds=gssapi.Credentials(usage="initiate"), flags=flags,
                usage="initiate", mech=mech or gssapi.MechType.kerberos,
            )
            self.first = self.context.step()

    def ask(self, op, body=None):
        """The reply's error and body; no error where the connection ended."""
        try:
            xid = self.conn.request(op, body)
        except OSError:
            return None, b""
        while data := self.conn.frame():
            said, _, error = struct.unpack(">iqi", data[:16])
            if said == xid:
                return error, data[16:]
        return None, b""

    def send(self, title, token):
        """Gives the token that came back, or None."""
        body = Writer().int(-1 if token is None else len(token)).raw(token or b"")
        error, data = self.ask("sasl", body)
        answer = None
        if len(data) >= 4 and data[:4] != b"\xff\xff\xff\xff":
            answer = data[4:]
        shown = "closed" if error is None else f"err {error}"
        shown += " null" if answer is None else " empty" if answer == b"" else " a token"
        self.lines.append(f"{title}: {shown}")
        return answer

    def offer(self):
        """Up to the server's offer of layers: its four bytes."""
        token = self.send("first", self.first)
        if token and not self.context.complete:
            with environment(self.tickets):
                self.context.step(token)
            token = self.send("empty", b"")
        if not token:
            return None
        opened = self.context.unwrap(token)
        self.lines.append(f"offers {opened.message.hex()}, encrypted {opened.encrypted}")
        return opened.message

    def choose(self, choice=NOTHING, encrypt=False):
        token = self.context.wrap(choice, encrypt).message
        return self.send(f"chooses {choice!r}{' encrypted' * encrypt}", token)

    def prove(self):
        """The whole exchange."""
        return self if self.offer() is not None and self.choose() is None else None

    def who(self):
        """Who the server takes it for."""
        error, data = self.ask("whoAmI")
        names = []
        if error == 0:
            count, rest = struct.unpack(">i", data[:4])[0], data[4:]
            for _ in range(count):
                words = []
                for _ in range(2):
                    length = struct.unpack(">i", rest[:4])[0]
                    words.append(rest[4:4 + length].decode())
                    rest = rest[4 + length:]
                names.append(":".join(words))
        self.lines.append(f"is {error} {sorted(names)}")
        return names

    def create(self, path, acl):
        body = Writer().buf(path).buf(b"x").acl(acl).int(0)
        self.lines.append(f"creates {path} for {acl}: {self.ask('create', body)[0]}")

    def get(self, path):
        error, data = self.ask("getData", Writer().buf(path).bool(False))
        self.lines.append(f"gets {path}: {error}")
        return error

    def end(self):
        self.conn.socket.close()
        return self.lines


@contextlib.contextmanager
def environment(tickets):
    """The library reads it at every call."""
    before = dict(os.environ)
    os.environ.update({k: tickets[k] for k in ("KRB5_CONFIG", "KRB5CCNAME")})
    try:
        yield
    finally:
        for name in "KRB5_CONFIG", "KRB5CCNAME":
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
