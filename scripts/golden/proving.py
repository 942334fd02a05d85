"""Clients that prove by SASL (DIGEST-MD5) who they are."""

import hashlib
import re

from .jute import Writer
from .registry import scenario

REALM, URI = b"zk-sasl-md5", b"zookeeper/zk-sasl-md5"
BOB = (b"bob", b"bob's \"secret\"")
LOGIN = "-Djava.security.auth.login.config=ROOT/tests/wire/login.conf"
PROVIDER = ("-Dzookeeper.authProvider.1="
            "org.apache.zookeeper.server.auth.SASLAuthenticationProvider")
SUPER = "-Dzookeeper.superUser.1=adam"
ANY = "-Dzookeeper.letAnySaslUserDoX=anybody"


def md5(*parts):
    return hashlib.md5(b":".join(parts)).digest()


def digest(*parts):
    return md5(*parts).hex().encode()


def latin(text):
    """What a name or a password is hashed as."""
    return text.decode().encode("latin-1")


def proof(method, nonce, user, password, authzid):
    known = md5(latin(user), REALM, latin(password))
    first = digest(known, nonce, b"golden", *([authzid] if authzid is not None else []))
    return digest(first, nonce, b"00000001", b"golden", b"auth", digest(method, URI))


class Prover:
    """One client's exchange; nonces and what is made of them are masked in the transcript."""

    def __init__(self, conn):
        self.conn, self.secrets = conn, conn.t.masks.secrets

    def token(self, token, comment=""):
        """Sends a token, shows the answer, gives the answer's token."""
        write = Writer().int(-1 if token is None else len(token))
        for piece in re.split(b"(%s)" % b"|".join(map(re.escape, self.secrets)), token or b""
                              ) if self.secrets else [token or b""]:
            write.raw(piece)
        error = self.conn.call("sasl", write, comment=comment)
        return error, self.conn.sasl_token

    def start(self, token=b"", comment="start"):
        error, challenge = self.token(token, comment)
        self.nonce = re.search(rb'nonce="([^"]*)"', challenge).group(1)
        return error

    def respond(self, user, password, comment="", authzid=None, more=b"", **changed):
        mine = proof(b"AUTHENTICATE", self.nonce, user, password, authzid)
        self.secrets[mine] = "proof"
        parts = {
            "charset": b"utf-8", "username": b'"%s"' % user, "realm": b'"%s"' % REALM,
            "nonce": b'"%s"' % self.nonce, "nc": b"00000001", "cnonce": b'"golden"',
            "digest-uri": b'"%s"' % URI, "response": mine, "qop": b"auth",
        }
        if authzid is not None:
            parts["authzid"] = b'"%s"' % authzid
        parts.update((name.replace("_", "-"), value) for name, value in changed.items())
        token = b",".join(b"%s=%s" % (n.encode(), v) for n, v in parts.items() if v is not None)
        error, answer = self.token(token + more, comment or user.decode("utf-8").encode(
            "ascii", "replace").decode())
        if error == 0 and answer is not None:
            known = b"rspauth=" + proof(b"", self.nonce, user, password, authzid)
            assert answer == known, "the server proves that it knows the password"
        return error


def proved(t, name, user=BOB, **changed):
    conn = t.open(name)
    prover = Prover(conn)
    prover.start()
    prover.respond(*user, **changed)
    return conn


def failed(t, comment, user=BOB, **changed):
    """A try that ends the connection."""
    conn = t.open(f"f{len(t.conns)}")
    prover = Prover(conn)
    prover.start()
    prover.respond(*user, comment=comment, **changed)
    conn.closed()


@scenario("sasl-digest", LOGIN, PROVIDER, SUPER, ANY)
def sasl_digest(t):
    """Users of a login file, what they may do, and what ends their connections."""
    a = proved(t, "a")
    a.call("whoAmI")
    a.create("/bob", b"x", [(31, "sasl", "bob")])
    a.create("/auth", b"x", [(31, "auth", "")])
    a.create("/any", b"x", [(1, "sasl", "anybody")])
    a.create("/super", b"x", [(1, "sasl", "super")])
    a.data("/bob")
    a.look("getACL", "/auth")
    a.data("/any")
    a.data("/super")
    t.title("the second time ends the connection")
    Prover(a).token(b"", "again")
    a.closed()
    t.title("others")
    b = t.open("b")
    b.data("/bob")
    b.data("/any")
    prover = Prover(b)
    prover.start(b"what is said first is passed over")
    b.data("/bob")
    prover.respond("müller".encode(), "pässwörd".encode(), authzid=b"bob")
    b.call("whoAmI")
    b.data("/bob")
    b.data("/any")
    t.title("the user super may what any user of SASL may, and no more")
    c = proved(t, "c", (b"super", b"adminsecret"))
    c.call("whoAmI")
    c.data("/bob")
    c.create("/digest", b"", [(31, "digest", "a:b")])
    c.data("/digest")
    t.title("a super user")
    d = proved(t, "d", (b"adam", b"adamsecret"))
    d.call("whoAmI")
    d.data("/digest")
    d.data("/bob")
    t.title("ids of the scheme")
    for name in ("", "a/b", "a@R", "a/b@R", "a/b/c", "@", "a@b@c", "a/b/c@R", "a@R/x"):
        d.create(f"/id{name.replace('/', '-')}", b"", [(31, "sasl", name)])
    t.title("credentials of the scheme are none")
    d.auth("sasl", b"bob")
    d.closed()


@scenario("sasl-failed", LOGIN, PROVIDER)
def sasl_failed(t):
    """What proves nothing is answered so, and ends the connection."""
    failed(t, "wrong password", (b"bob", b"guess"))
    failed(t, "unknown user", (b"eve", b"guess"))
    failed(t, "no user", username=None)
    failed(t, "another realm", realm=b'"localhost"')
    failed(t, "two realms", more=b',realm="zk-sasl-md5"')
    failed(t, "another nonce", nonce=b'"abc"')
    failed(t, "another service", digest_uri=b'"zookeeper/localhost"')
    failed(t, "another quality", qop=b"auth-int")
    failed(t, "another charset", charset=b"UTF-8")
    failed(t, "no proof", response=None)
    failed(t, "a name twice", more=b",cnonce=x")
    failed(t, "an open quote", more=b',x="y')
    failed(t, "4097 bytes", more=b"," * 4000)
    t.title("answers that are none")
    for token in (b"", b"x", b"\0" * 50):
        conn = t.open(f"n{len(t.conns)}")
        prover = Prover(conn)
        prover.start()
        prover.token(token, "no response")
        conn.closed()
    t.title("closed without an answer")
    for comment, more in (("maxbuf", b",maxbuf=x"), ("count", b",nonce-count=x")):
        failed(t, comment, more=more)
    conn = t.open("null")
    Prover(conn).token(None, "null")
    conn = t.open("none")
    conn.call("sasl")
    t.title("taken in spite of it")
    for comment, changed in (
        ("any nc", {"nc": b"zz"}), ("no charset", {"charset": None}), ("no qop", {"qop": None}),
        ("case", {"username": None, "more": b",USERNAME=bob"}), ("blanks", {"more": b" x=y\t"}),
        ("escapes", {"username": b'"b\\ob"'}), ("commas", {"more": b",, ,"}),
        ("empty authzid", {"authzid": b""}), ("uri", {"digest_uri": None, "more": b"," + (
            b'digest-uri="%s"' % URI)}),
    ):
        conn = proved(t, f"g{len(t.conns)}", comment=comment, **changed)
        conn.call("whoAmI")


@scenario("sasl-required", LOGIN, PROVIDER, "-Dzookeeper.sessionRequireClientSASLAuth=true",
          "-Dzookeeper.allowSaslFailedClients=true")
def sasl_required(t):
    """Nobody may ask for anything before SASL; a failed try ends the connection all the same."""
    for op in ("ping", "create", "whoAmI"):
        conn = t.open(f"c{len(t.conns)}")
        conn.call(op)
        conn.closed()
    t.title("another scheme does not do")
    conn = t.open("d")
    conn.auth("digest", b"u:p")
    conn.data("/")
    conn.closed()
    t.title("between start and response")
    conn = t.open("b")
    Prover(conn).start()
    conn.data("/")
    conn.closed()
    failed(t, "wrong password", (b"bob", b"guess"))
    t.title("with it")
    a = proved(t, "a")
    a.data("/")
    a.create("/x")


@scenario("sasl-or-digest", LOGIN, PROVIDER, "-Dzookeeper.enforce.auth.enabled=true",
          "-Dzookeeper.enforce.auth.schemes=digest, sasl")
def sasl_or_digest(t):
    """One of two schemes has to be proved."""
    conn = t.open("n")
    conn.data("/")
    conn.closed()
    failed(t, "wrong password", (b"bob", b"guess"))
    a = t.open("a")
    a.auth("digest", b"u:p")
    a.data("/")
    b = proved(t, "b")
    b.data("/")


@scenario("sasl-allowed-to-fail", LOGIN, PROVIDER, "-Dzookeeper.allowSaslFailedClients=true",
          "-Dzookeeper.SASLAuthenticationProvider.superPassword=override")
def sasl_allowed_to_fail(t):
    """A failed try is answered with a null token, and the client stays as nobody."""
    a = t.open("a")
    prover = Prover(a)
    prover.start()
    prover.respond(b"bob", b"guess", comment="wrong password")
    a.call("whoAmI")
    a.create("/a")
    prover.token(b"", "again")
    prover.token(b"x", "again")
    a.data("/a")
    t.title("the password of super comes from a property")
    b = proved(t, "b", (b"super", b"adminsecret"))
    b.call("whoAmI")
    c = proved(t, "c", (b"super", b"override"))
    c.call("whoAmI")


@scenario("sasl-without-provider", LOGIN, SUPER, "-Dzookeeper.sasl.serverconfig=Server")
def sasl_without_provider(t):
    """Without the provider users can prove themselves, and no ACL can name them."""
    a = proved(t, "a")
    a.call("whoAmI")
    a.create("/x", b"", [(31, "sasl", "bob")])
    a.create("/x", b"", [(31, "auth", "")])
    b = proved(t, "b", (b"adam", b"adamsecret"))
    b.call("whoAmI")
    b.create("/x", b"", [(0, "digest", "a:b")])
    b.data("/x")
    t.title("answered in their order")
    c = t.open("c")
    first = c.request("sasl", Writer().buf(b""))
    second = c.request("getData", Writer().buf("/").bool(False))
    c.answer("sasl", first)
    c.answer("getData", second)
