"""`leaderServes=no`: a leader that leaves clients to the others, and says so as Apache's does."""

import socket
import time

import evidence
from exchanging.link import Link
from golden.jute import Writer

from patience import Deadline, seconds
from stage import TIMEOUT_MS

NOT_SERVING = "This ZooKeeper instance is not currently serving requests"
SETTINGS = ["-Dzookeeper.leaderServes=no"]


def no(stage):
    """3 leads and takes no client; the others do, and their writes go through it."""
    leader, others = stage[3], [stage[1], stage[2]]
    # Two of them cannot do without the one that must lead, whoever starts slowly.
    stage.all.start([leader.id, others[0].id], wait=False)
    others[0].wait_mode("follower", seconds=seconds(60))
    stage.join(others[1])
    stage.proof(leader.wait_log(r"LEADING - LEADER ELECTION TOOK", seconds=seconds(20)).group())
    said = {word: leader.four_letter(word).strip() for word in ("srvr", "mntr", "ruok", "isro")}
    expected = {"srvr": NOT_SERVING, "mntr": NOT_SERVING, "ruok": "imok", "isro": "null"}
    if said != expected:
        raise evidence.NoEvidence(f"the leader says {said}")
    stage.proof(f"srvr of {leader.id}: {said['srvr']}")
    is_closed(leader)
    stage.proof("a client is let in and closed when it asks for a session")
    link = Link(others[0].client_port, TIMEOUT_MS)
    link.create("/through-the-leader", b"x", expect=None)
    link.end()
    end = Deadline(20)
    while others[0].zxid() != others[1].zxid():
        if end.is_over():
            raise AssertionError("the followers do not come together")
        time.sleep(0.05)


def is_closed(member):
    """Its port is open, and what comes of a request for a session is the end of the connection."""
    request = Writer().int(0).long(0).int(10000).long(0).buf(b"\0" * 16).bool(False).bytes()
    with socket.create_connection(("127.0.0.1", member.client_port), seconds(5)) as link:
        link.sendall(len(request).to_bytes(4, "big") + request)
        if answer := link.recv(1):
            raise AssertionError(f"{member} answers a client: {answer}")
