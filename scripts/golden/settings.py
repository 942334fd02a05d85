"""What settings change on the wire."""

from .jute import OPEN, Writer
from .registry import scenario


@scenario("max-client-cnxns", "maxClientCnxns=2")
def max_client_cnxns(t):
    """One connection too many from an address is closed before it says a word."""
    a, b = t.open("a"), t.open("b")
    c = t.raw("c")
    c.closed()
    a.drain()
    t.title("when one has gone there is room again")
    b.call("closeSession")
    b.closed()
    t.open("d").drain()


@scenario("session-timeouts", "minSessionTimeout=5000", "maxSessionTimeout=7000")
def session_timeouts(t):
    """The bounds of timeouts can be set apart from tickTime."""
    for name, timeout in (("a", 1), ("b", 5001), ("c", 7001), ("d", 7000)):
        t.open(name, timeout=timeout)


@scenario("max-buffer", "-Djute.maxbuffer=1000")
def max_buffer(t):
    """The largest frame can be set; replies may be larger."""
    a = t.open("a")
    for n in range(3):
        a.create(f"/{'n' * 400}{n}", b"x" * 400)
    a.children("/")
    t.title("exactly 1000 bytes, and 1001")
    fixed = 8 + 4 + 2 + 4 + 4 + 4 + 4 + 5 + 4 + 6 + 4
    a.create("/x", b"x" * (1000 - fixed))
    body = Writer().buf("/y").buf(b"x" * (1001 - fixed)).acl(OPEN).int(0)
    a.request("create", body)
    a.closed()


@scenario("digest-off", "-Dzookeeper.DigestAuthenticationProvider.enabled=false")
def digest_off(t):
    """Without the digest scheme its identities and its lists are unknown."""
    a = t.open("a")
    a.create("/x", b"", [(31, "digest", "a:b")])
    a.create("/x", b"", [(31, "auth", "")])
    a.create("/x", b"", [(31, "ip", "127.0.0.1")])
    a.auth("digest", b"u:p")
    a.closed()


def digests(t):
    a = t.open("a")
    a.auth("digest", b"user:password")
    a.create("/n", b"", [(31, "auth", "")])
    a.look("getACL", "/n")
    a.call("whoAmI")


@scenario("digest-sha256", "-Dzookeeper.DigestAuthenticationProvider.digestAlg=SHA-256")
def digest_sha256(t):
    """Another algorithm for digests."""
    digests(t)


@scenario("digest-sha512", "-Dzookeeper.DigestAuthenticationProvider.digestAlg=SHA-512")
def digest_sha512(t):
    """And another."""
    digests(t)


@scenario("digest-md5", "-Dzookeeper.DigestAuthenticationProvider.digestAlg=MD5")
def digest_md5(t):
    """And an old one."""
    digests(t)


@scenario("digest-sha3", "-Dzookeeper.DigestAuthenticationProvider.digestAlg=SHA3-256")
def digest_sha3(t):
    """And a new one."""
    digests(t)


@scenario("names", log=True)
def names(t):
    """Names that are not UTF-8, or more than it: reads pass them over, writes refuse them."""
    a = t.open("a")
    bad = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\xaf", b"a\xe2")
    for raw in (b"/" + name for name in bad):
        a.call("create", Writer().buf(raw).buf(b"").acl(OPEN).int(0), comment=raw.hex())
        a.call("exists", Writer().buf(raw).bool(False), comment=raw.hex())
        a.call("getData", Writer().buf(raw).bool(False), comment=raw.hex())
    t.title("what is legal comes back as it was")
    for name in ("/\u00e4", "/\u4e2d\u6587", "/ ", "/a b", "/\u00a0", "/\ud7ff", "/\uf900"):
        a.create(name, name.encode())
        a.data(name)
    a.children("/")
    t.title("a child's name may be long")
    a.create("/" + "l" * 300, b"")
    a.look("sync", "/\ufffd")
    a.call("sync", Writer().buf(b"/\xff"), comment="not UTF-8")


@scenario("versions", log=True)
def versions(t):
    """Versions and child versions over many changes; sequence numbers after deletions."""
    a = t.open("a")
    a.create("/p")
    for n in range(3):
        a.create("/p/s-", b"", OPEN, 2, "create2")
    a.delete("/p/s-0000000000")
    a.delete("/p/s-0000000002")
    a.exists("/p")
    a.create("/p/s-", b"", OPEN, 3, "create2")
    a.exists("/p")
    for n in range(3):
        a.set("/p", b"%d" % n, version=n)
        a.set_acl("/p", OPEN, version=n)
    a.exists("/p")
    t.title("the root")
    a.exists("/")
    a.create("/s-", b"", OPEN, 2)
    a.exists("/")
    a.exists("/zookeeper")
