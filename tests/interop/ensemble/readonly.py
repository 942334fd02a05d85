"""Read-only servers: what one of two that are left alone does for whom, until there are two again.
The same is asked of Apache and of zkd, and the same is expected."""

import re
import time

from golden.jute import Writer

from patience import Deadline, seconds
from sessions import becomes, equal, finish
from visitor import Visitor

FLAG = "-Dreadonlymode.enabled=true"
SETTINGS = [FLAG]
LOCAL = [FLAG, "localSessionsEnabled=true", "minSessionTimeout=500"]
NOT_READ_ONLY = -119
MODE = "read-only"
WRITES = {
    "create": Writer().buf("/w").buf(b"").acl([(31, "world", "anyone")]).int(0),
    "create2": Writer().buf("/w").buf(b"").acl([(31, "world", "anyone")]).int(0),
    "createContainer": Writer().buf("/w").buf(b"").acl([(31, "world", "anyone")]).int(4),
    "delete": Writer().buf("/seen").int(-1),
    "setData": Writer().buf("/seen").buf(b"").int(-1),
    "setACL": Writer().buf("/seen").acl([(31, "world", "anyone")]).int(-1),
    "multi": Writer().int(-1).bool(True).int(-1),
    "reconfig": Writer().buf(None).buf(None).buf(None).long(-1),
    "sync": Writer().buf("/"),
    # Nobody looks at what it says.
    "setData ": Writer().raw(b"\xff"),
}


def alone(stage):
    """2 leads 1 and 3; then 1 is the only one that is left. A session of the whole ensemble is at
    1, and so is its ephemeral."""
    left, leader, third = stage[1], stage[2], stage[3]
    stage.lead(leader, left)
    stage.join(third)
    one = Visitor(left.client_port, timeout=120000)
    equal(one.create("/seen"), 0, "create")
    if LOCAL[1] not in stage.settings:
        equal(one.create("/mine", 1), 0, "create of an ephemeral")
    equal(one.set("/seen", b"last"), 0, "setData")
    stage.settle()
    wanted = left.zxid()
    third.kill()
    leader.kill()
    becomes(lambda: left.four_letter("isro"), "null", "isro without a leader")
    # Nobody is served, and for two seconds that does not change.
    assert one.is_closed(), "a client stays without a leader"
    assert Visitor(left.client_port, read_only=True).is_turned_away, "served at once"
    left.wait_mode(MODE, seconds=seconds(60))
    stage.proof(f"srvr of 1: {MODE}")
    return left, one.session, wanted


def words(left, wanted):
    """What operators are told."""
    equal(left.four_letter("isro"), "ro", "isro")
    lines = left.four_letter("srvr").splitlines()
    equal(lines[1], "READ-ONLY mode; serving only read-only clients", "srvr")
    equal(left.zxid(), wanted, "the zxid of srvr")
    found = left.mntr()
    equal(found["zk_server_state"], MODE, "zk_server_state")
    # It is a member of nothing that it could tell of.
    equal([name for name in ("zk_peer_state", "zk_quorum_size") if name in found], [], "mntr")


def turned_away(left, session, wanted):
    """Who is not served here."""
    assert Visitor(left.client_port).is_turned_away, "who wants to write is served"
    assert Visitor(left.client_port, old=True).is_turned_away, "who is too old to say is served"
    ahead = Visitor(left.client_port, read_only=True, seen=wanted + 1)
    assert ahead.is_turned_away, "who has seen more is served"


def reads(one, wanted):
    """Reads and watches are as ever, and everything else is refused."""
    equal(one.get("/seen", watch=True), 0, "getData")
    equal(one.said.buf(), b"last", "what is read")
    equal(one.zxid, wanted, "the zxid of a reply")
    equal(one.ask("getChildren2", Writer().buf("/").bool(True)), 0, "getChildren2")
    equal(one.ask("exists", Writer().buf("/none").bool(True)), -101, "exists")
    equal(one.get("/none"), -101, "getData of nothing")
    equal(one.ask("setWatches", Writer().long(0).strings(["/seen"]).strings([]).strings([])), 0,
          "setWatches")
    equal(one.events, [(3, "/seen")], "events of setWatches")
    equal(one.ask("whoAmI"), 0, "whoAmI")
    for op, body in WRITES.items():
        equal(one.ask(op.strip(), body), NOT_READ_ONLY, op)
        equal(one.zxid, wanted, f"the zxid of the reply to {op}")


def serves(stage):
    """Without local sessions no session can begin; only one that nobody here knows is let in."""
    left, session, wanted = alone(stage)
    words(left, wanted)
    turned_away(left, session, wanted)
    assert Visitor(left.client_port, session, read_only=True).is_turned_away, (
        "a session of the whole ensemble is served"
    )
    new = Visitor(left.client_port, read_only=True)
    # A reply to nothing, in place of an answer to the connect request.
    equal(new.hello, bytes(4) + wanted.to_bytes(8, "big") + b"\xff\xff\xff\x89", "a new session")
    one = Visitor(left.client_port, 0x7700000000000001, read_only=True)
    assert one.is_welcome and one.is_read_only, "an unknown session is not let in"
    reads(one, wanted)
    equal(one.ask("closeSession"), NOT_READ_ONLY, "closeSession")
    wrong = Visitor(left.client_port, 0x7700000000000001, b"\0" * 16, read_only=True)
    assert wrong.is_refused and wrong.is_read_only, "a wrong password is let in"
    one = Visitor(left.client_port, 0x7700000000000001, read_only=True)
    goes_on(stage, left, one)
    # It has logged all that it shows, and shows all that it has logged.
    stage[2].kill(), stage[3].kill()
    wanted = stage_zxid(left)
    left.restart()
    left.wait_mode(MODE, seconds=seconds(60))
    equal(left.zxid(), wanted, "the zxid after a restart")
    one = Visitor(left.client_port, 0x7700000000000001, read_only=True)
    equal((one.get("/again"), one.get("/mine")), (0, 0), "what it has logged")
    stage.proof("restarted alone, 1 shows all that it has logged")
    stage.all.start([2, 3], wait=False)
    for member in stage.all:
        member.wait_mode("leader", "follower", seconds=seconds(60))
    finish(stage)


def stage_zxid(left):
    """What it has applied, once it serves alone again."""
    left.wait_mode(MODE, seconds=seconds(60))
    return left.zxid()


def goes_on(stage, left, one):
    """There are two again: every connection ends, and the next is one like any other."""
    stage[2].start()
    assert one.is_closed(within=60), "a connection outlives the read-only server"
    left.wait_mode("follower", "leader", seconds=seconds(60))
    stage[3].start()
    stage.serves(stage[3])
    equal(left.four_letter("isro"), "rw", "isro with a leader")
    again = Visitor(left.client_port)
    assert again.is_welcome and not again.is_read_only, "no session begins"
    equal(again.create("/again"), 0, "create")
    again.end()
    both = Visitor(left.client_port, read_only=True)
    assert both.is_welcome and not both.is_read_only, "who may only read may not write here"
    equal(both.set("/again"), 0, "setData of one who could do without")
    both.end()
    assert Visitor(left.client_port, one.session, read_only=True).is_refused, "its session lives"
    stage.settle()
    stage.proof("with two members every connection of the read-only server has ended")


def serves_local(stage):
    """With local sessions clients can begin, and end."""
    left, session, wanted = alone(stage)
    words(left, wanted)
    turned_away(left, session, wanted)
    one = Visitor(left.client_port, read_only=True)
    assert one.is_welcome and one.is_read_only, "no session begins"
    reads(one, wanted)
    equal(left.mntr()["zk_local_sessions"], "1", "zk_local_sessions")
    text = left.four_letter("dump")
    assert re.search(r"^Local Session Sets \(\d+\)/\(1\):$", text, re.M), text
    assert re.search(r"^Global Sessions\(\d\):$", text, re.M), text
    again = Visitor(left.client_port, one.session, read_only=True)
    assert again.is_welcome and again.is_read_only and one.is_closed(), "it is not taken back"
    equal(again.ask("closeSession"), 0, "closeSession")
    assert again.is_closed(), "the connection outlives its session"
    stranger = Visitor(left.client_port, 0x7700000000000001, read_only=True)
    assert stranger.is_refused and stranger.is_read_only, "an unknown session is let in"
    short = Visitor(left.client_port, timeout=1500, read_only=True)
    assert short.is_welcome and short.is_closed(within=30), "it does not expire"
    becomes(lambda: left.mntr()["zk_local_sessions"], "0", "zk_local_sessions")
    kazoo(left)
    one = Visitor(left.client_port, read_only=True, timeout=120000)
    goes_on(stage, left, one)
    finish(stage)


def kazoo(left):
    """A client that people use."""
    from kazoo.client import KazooClient, KeeperState
    from kazoo.exceptions import NotReadOnlyCallError

    client = KazooClient(left.address, read_only=True, timeout=20)
    client.start(timeout=seconds(30))
    equal(client.client_state, KeeperState.CONNECTED_RO, "kazoo's state")
    equal(client.get("/seen")[0], b"last", "what kazoo reads")
    try:
        client.set("/seen", b"kazoo")
        raise AssertionError("kazoo may write")
    except NotReadOnlyCallError:
        pass
    client.stop()
    client.close()
