"""How a member comes to need each kind of sync, and what is seen when it has it.

A case has three parts: member 1 is a third voter, 2 leads, 3 joins; ids decide the elections. The
preparation leaves 3 down and everything so that it is brought up in one way only.
"""

import glob
import os
import time

from exchanging.link import Link, create

import evidence
from patience import Deadline, seconds
from relay import Relay
from stage import TIMEOUT_MS

# More than 500, which Java keeps at least, and more than the 32 MiB that zkd keeps.
MANY, LARGE = 720, 50000
THIRD, LEADER, JOINER = 1, 2, 3
NEVER_AGREED = b"nobody has agreed to this"
ALL_LOGGED = b"all have logged this"
# How far a sync is let go before somebody is killed: LEADERINFO and TRUNC are 44 bytes.
MIDDLE = {
    "diff-memory": 1_000_000, "diff-log": 18_000_000, "trunc": 44,
    "snap-empty": 2_000_000, "snap-behind": 2_000_000,
}
# What zkd sends as a snapshot is its last file, with the log behind it: it shall have taken one.
SNAPSHOTS = "-Dzookeeper.snapCount=60"
SETTINGS = {
    "snap-empty": [SNAPSHOTS], "snap-behind": [SNAPSHOTS, "-Dzookeeper.snapshotSizeFactor=-1"],
}


def prepare(stage, kind, in_the_middle=False):
    """Brings it about that 3 needs this sync by 2. Writers are at work, but where a write would
    make another sync of it."""
    third, leader, joiner = (stage[n] for n in (THIRD, LEADER, JOINER))
    if kind == "trunc":
        return prepare_trunc(stage, third, leader, joiner)
    stage.lead(leader, third)
    stage.join(joiner)
    stage.fill(leader, wide=kind.startswith("snap"))
    # Java keeps 500 in memory: few enough while the joiner starts.
    stage.history.begin(stage.all.addresses([THIRD, LEADER]), 1 if kind == "diff-memory" else 2)
    stage.history.progress(10)
    stage.settle_writing(joiner)
    joiner.stop() if kind == "diff-memory" else joiner.kill()
    if kind == "diff-memory":
        stage.small_writes(leader)
        if in_the_middle:
            stage.bulk(leader, 100, 30000)
    elif kind == "snap-empty":
        stage.small_writes(leader)
        joiner.wipe()
    else:
        stage.bulk(leader, MANY, LARGE)
    stage.history.progress(10)
    if kind.startswith("snap"):
        await_snapshot(leader)
    stage.leads(leader)


def await_snapshot(member):
    """One that holds what `fill` has written."""
    end = Deadline(30)
    while not any(os.path.getsize(path) > MIDDLE["snap-empty"] for path in files(member, "snap")):
        if end.is_over():
            raise AssertionError(f"{member} takes no snapshot")
        time.sleep(0.05)


def prepare_trunc(stage, third, leader, joiner):
    """3 leads, and logs what nobody else ever gets; then 1 and 2 go on without it."""
    stage.lead(joiner, third)
    stage.join(leader)
    stage.fill(joiner)
    link = Link(joiner.client_port, TIMEOUT_MS)
    stage.settle()
    # Or 1 might have more than 2: Java applies what others have logged before it has.
    link.create("/all-logged", ALL_LOGGED)
    for member in third, leader:
        await_logged(member, ALL_LOGGED)
        member.pause()
    for n in range(5):
        link.send("create", create(f"/never-{n}", NEVER_AGREED + b" %d" % n))
    await_logged(joiner, NEVER_AGREED + b" 4")
    evidence.mode_is(joiner, "leader")
    # What has been sent to those who stand still goes with them.
    for member in third, leader:
        member.kill()
    joiner.kill()
    link.drop()
    stage.lead(leader, third)


def await_logged(member, words):
    end = Deadline(20)
    while not any(words in content(path) for path in files(member, "log")):
        if end.is_over():
            raise AssertionError(f"{member} does not log what is proposed")
        time.sleep(0.05)


def files(member, prefix):
    return glob.glob(os.path.join(member.data, "version-2", prefix + "*.*"))


def content(path):
    with open(path, "rb") as file:
        return file.read()


def joins(kind):
    """The joiner is brought up as the name says, and all are one."""
    def case(stage):
        prepare(stage, kind)
        leader, joiner = stage[LEADER], stage[JOINER]
        marks = stage.marks()
        stage.join(joiner)
        stage.proof(evidence.synced(marks, kind, leader, joiner))
        stage.leads(leader)
        if kind == "trunc":
            stage.history.begin(stage.all.addresses())
        stage.watchers.begin(list(stage.all))
        stage.history.progress(20)
        stage.finish()
        if kind == "trunc":
            stage.proof("what nobody agreed to is gone")
    return case


def is_killed(kind, victim):
    """Somebody is killed while the joiner has a part of what it is sent."""
    def case(stage):
        prepare(stage, kind, in_the_middle=True)
        third, leader, joiner = (stage[n] for n in (THIRD, LEADER, JOINER))
        relay = Relay(leader.quorum_port)
        stage.relays.append(relay)
        stage.is_masked = True
        stage.all.see(JOINER, LEADER, relay.port, leader.election_port)
        relay.hold_at(MIDDLE[kind])
        marks = stage.marks()
        joiner.start()
        if not relay.held.wait(seconds(40)):
            said = evidence.excerpt(marks.said(joiner))
            raise evidence.NoEvidence(f"{kind} did not come to {MIDDLE[kind]} bytes:\n{said}")
        word = evidence.LEARNER[kind.split("-")[0]]
        joiner.wait_log(word, marks.at[JOINER], seconds(20))
        if joiner.mode():
            raise evidence.NoEvidence("the joiner serves before its sync has ended")
        stage.proof(evidence.synced(marks, kind, leader, joiner))
        dies = {"joiner": joiner, "leader": leader, "third": third}[victim]
        dies.kill()
        # The rest of what a dead leader has sent would still arrive.
        relay.release() if victim == "third" else relay.cut()
        stage.proof(f"{victim} killed behind byte {MIDDLE[kind]} of it")
        if victim == "leader":
            heir = stage.leader()
            stage.leads(heir)
        dies.start()
        for member in stage.all:
            stage.serves(member)
        if kind == "trunc":
            stage.history.begin(stage.all.addresses())
        stage.history.progress(20)
        stage.finish()
    return case
