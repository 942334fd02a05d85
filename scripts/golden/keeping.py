"""What Apache leaves on its disk: snapshots with each trailer, and a log for each txn."""

from . import disk
from .registry import scenario

WHY = "the file is read by disk tests; others choose their own moments for snapshots"


def fill(t):
    a = t.open("a")
    a.create("/a", b"data", [(31, "world", "anyone")])
    a.create("/a/e", None, flags=1)
    a.create("/a/e2", b"", [(1, "world", "anyone"), (31, "ip", "127.0.0.1")], flags=1)
    a.set("/a", b"more")


def restarted(t):
    """The snapshot of an empty server and the one that the next start takes."""
    fill(t)
    t.close_all()
    t.server.stop()
    t.server.start()
    t.server.stop()
    for path in disk.files(t.server.folder, "snapshot"):
        disk.show_snapshot(t, path)


@scenario("snapshot", apache_only=WHY)
def plain(t):
    """Digest and last zxid behind the nodes, each with its seal."""
    restarted(t)


@scenario("snapshot-no-last-zxid", "-Dzookeeper.serializeLastProcessedZxid.enabled=false",
          apache_only=WHY)
def no_last_zxid(t):
    """As 3.8 writes it: the digest only."""
    restarted(t)


@scenario("snapshot-no-digest", "-Dzookeeper.digest.enabled=false", log=True, apache_only=WHY)
def no_digest(t):
    """Neither digest trailer nor digests in the log."""
    restarted(t)


@scenario("snapshot-gz", "-Dzookeeper.snapshot.compression.method=gz", apache_only=WHY)
def gz(t):
    """Compressed: the content is shown."""
    restarted(t)


@scenario("log-old-close", "-Dzookeeper.closeSessionTxn.enabled=false",
          "-Dzookeeper.digest.enabled=false", log=True)
def old_close(t):
    """closeSession without the list of paths."""
    a = t.open("a")
    a.create("/e", flags=1)
    a.call("closeSession")
    a.closed()


@scenario("log-old-close-digest", "-Dzookeeper.closeSessionTxn.enabled=false", log=True,
          apache_only="others leave the digest out: one who expects the list takes it for that")
def old_close_digest(t):
    """closeSession without the list of paths, the tree's digest right behind the header."""
    a = t.open("a")
    a.create("/e", flags=1)
    a.create("/f", flags=1)
    a.call("closeSession")
    a.closed()
    b = t.open("b")
    b.call("closeSession")
    b.closed()


@scenario("snapshot-kinds", "-Dzookeeper.extendedTypesEnabled=true", log=True, apache_only=WHY)
def kinds(t):
    """One node of each kind, with quota nodes, after a restart."""
    a = t.open("a")
    a.create("/c", b"", flags=4, op="createContainer")
    a.create("/c/t", b"x", flags=5, op="createTTL", ttl=2**40 - 1)
    a.create("/c/t/s-", None, flags=6, op="createTTL", ttl=1000000)
    a.create("/zookeeper/quota/c")
    a.create("/zookeeper/quota/c/zookeeper_limits", b"count=5,bytes=10")
    a.create("/zookeeper/quota/c/zookeeper_stats", b"")
    t.close_all()
    t.server.stop()
    t.server.start()
    t.server.stop()
    disk.show_snapshot(t, disk.files(t.server.folder, "snapshot")[-1])
