"""Observers that are fed by followers: `observerMasterPort`.

1 and 2 follow 3, which leads; 4 observes behind one of the two, whichever it comes to first. All
listen at the same port for that, so each voter has an address of its own on loopback.
"""

import re
import time

import evidence
import ports
import syncs
from patience import Deadline, seconds

FIRST, SECOND, LEADER, OBSERVER = 1, 2, 3, 4


def feed(kind):
    """4 is brought up by a follower as the name says; clients write, hold ephemerals and watch
    through it; the follower dies, and the other one takes its place."""
    def case(stage):
        leader, observer = stage[LEADER], stage[OBSERVER]
        followers = [stage[FIRST], stage[SECOND]]
        place(stage)
        prepare(stage, kind, leader, observer, followers)
        marks = stage.marks()
        stage.join(observer)
        master = feeds(marks, followers, observer)
        stage.proof(evidence.synced(marks, kind, master, observer, times=None))
        stage.proof(evidence.mode_is(observer, "observer"))
        stage.proof(evidence.mode_is(master, "follower"))
        stage.leads(leader)
        not_fed_by_leader(marks, leader, observer)
        # One writer has nobody else; sessions begin at the observer, its master and the other.
        other = next(member for member in followers if member is not master)
        stage.history.begin(observer.address, 1)
        stage.watchers.begin([observer, master, other])
        stage.history.progress(20)
        marks = stage.marks()
        master.kill()
        stage.proof(f"follower {master.id} killed")
        observed_by(marks, other, observer)
        observer.wait_mode("observer", seconds=seconds(60))
        stage.proof(f"follower {other.id} feeds {observer.id}")
        stage.history.progress(20)
        stage.join(master)
        # Sessions move to where there is somebody, and away from the observer.
        observer.kill()
        stage.history.progress(10, writers=stage.history.writers[:-1])
        stage.join(observer)
        stage.history.progress(20)
        not_fed_by_leader(marks, leader, observer)
        stage.finish()
    return case


def place(stage):
    """An address for each, and one port for all."""
    port = ports.Port()
    stage.all.held.append(port)
    for member in stage.all:
        member.live_at(f"127.0.0.{member.id + 1}")
        member.set(f"observerMasterPort={port.number}")


def prepare(stage, kind, leader, observer, followers):
    """The observer misses something that whoever feeds it has where the name says."""
    # Two of them cannot do without the one that must lead, whoever starts slowly.
    stage.lead(leader, followers[0])
    for follower in followers[1:]:
        stage.join(follower)
    stage.fill(leader, wide=kind.startswith("snap"))
    if not kind.startswith("snap"):
        stage.join(observer)
        stage.settle_writing(observer)
        observer.stop() if kind == "diff-memory" else observer.kill()
    voters = stage.all.addresses([member.id for member in [leader, *followers]])
    # Java keeps 500 in memory: few enough while the observer starts.
    stage.history.begin(voters, 1)
    stage.history.progress(10)
    if kind == "diff-log":
        stage.bulk(leader, syncs.MANY, syncs.LARGE)
    else:
        stage.small_writes(leader)
    for follower in followers:
        stage.settle_writing(follower)
        if kind.startswith("snap"):
            syncs.await_snapshot(follower)
    stage.leads(leader)


def feeds(marks, followers, observer):
    """The follower that has begun to bring it up."""
    began = re.compile(evidence.BEGUN.format(sid=observer.id), re.M)
    end = Deadline(20)
    while True:
        found = [member for member in followers if began.search(marks.said(member))]
        if found:
            return found[-1]
        if end.is_over():
            raise evidence.NoEvidence(f"no follower feeds {observer}")
        time.sleep(0.05)


def observed_by(marks, master, observer):
    master.wait_log(
        evidence.BEGUN.format(sid=observer.id), marks.at[master.id], seconds(60)
    )


def not_fed_by_leader(marks, leader, observer):
    began = re.compile(evidence.BEGUN.format(sid=observer.id), re.M)
    if began.search(marks.said(leader)):
        raise evidence.NoEvidence(f"{leader} feeds {observer} itself")
