"""A voter has accepted an epoch that no quorum ever did, and may not follow in an earlier one.

Under Apache's leader it stays outside until the next election, whose epoch is above all that is
promised by those who take part in it. A zkd that leads makes room for that election itself, and
one that observes is bound only by what it has followed.
"""

import os
import time

import evidence
from patience import seconds

# Three elections that came to nothing.
AHEAD = 3
REFUSED = {
    "zkd": r"Leaving the leader: the leader's epoch \d+ is less than accepted epoch \d+",
    "apache": r"Leaders epoch, \d+ is less than accepted epoch, \d+",
}


def promise(member):
    """The epoch that it has accepted now."""
    path = os.path.join(member.data, "version-2", "acceptedEpoch")
    with open(path) as file:
        accepted = int(file.read()) + AHEAD
    with open(path, "w") as file:
        file.write(str(accepted))
    return accepted


def prepare(stage):
    third, leader, joiner = stage[1], stage[2], stage[3]
    stage.lead(leader, third)
    stage.join(joiner)
    stage.settle()
    joiner.stop()
    stage.history.begin(stage.all.addresses([third.id, leader.id]))
    stage.history.progress(20)
    return leader, joiner, promise(joiner)


def outdone(stage):
    """2 leads, and gives that up for one that could not follow; all three serve."""
    leader, joiner, accepted = prepare(stage)
    marks = stage.marks()
    joiner.start()
    told = rf"sid {joiner.id} has accepted epoch {accepted} and cannot follow in epoch \d+"
    stage.proof(leader.wait_log(told, marks.at[leader.id], seconds(20)).group())
    serve_beyond(stage, accepted)


def kept(stage):
    """Apache's leader leads on, without it; the next one takes it in."""
    leader, joiner, accepted = prepare(stage)
    marks = stage.marks()
    joiner.start()
    stage.proof(joiner.wait_log(REFUSED[joiner.kind], marks.at[joiner.id], seconds(20)).group())
    time.sleep(seconds(3))
    stage.leads(leader)
    if mode := joiner.mode():
        raise evidence.NoEvidence(f"{joiner} is a {mode} in an epoch before the one it accepted")
    stage.history.progress(20)
    leader.stop()
    stage.leads(stage.leader(other_than=leader))
    leader.start()
    serve_beyond(stage, accepted)


def observed(stage):
    """Nobody counts on what an observer has accepted: it follows the leader there is."""
    leader, joiner, accepted = prepare(stage)
    stage.join(joiner)
    stage.leads(leader)
    stage.history.progress(20)
    epoch = leader.zxid() >> 32
    if epoch >= accepted:
        raise evidence.NoEvidence(f"epoch {epoch} is not before the accepted {accepted}")
    stage.proof(f"observes in epoch {epoch}, having accepted {accepted}")
    stage.finish()


def serve_beyond(stage, accepted):
    for member in stage.all:
        stage.serves(member)
    stage.history.progress(20)
    epoch = stage.leader().zxid() >> 32
    if epoch <= accepted:
        raise AssertionError(f"epoch {epoch} does not outdo the accepted {accepted}")
    stage.proof(f"epoch {epoch} outdoes the accepted {accepted}")
    stage.finish()
