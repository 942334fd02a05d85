"""Members that die in the steady state, one or all, and come back to writers that go on."""

import signal
import time

import evidence
from exchanging.link import Link

from patience import Deadline, seconds
from stage import TIMEOUT_MS


def begin(stage):
    """All of them serve under load; who is to lead does."""
    leader = stage[stage.leader_id]
    stage.lead(leader, *[member for member in stage.all if member.id < leader.id])
    for member in stage.all:
        if not member.is_running():
            stage.join(member)
    stage.fill(leader)
    stage.history.begin(stage.all.addresses())
    stage.watchers.begin(list(stage.all))
    stage.history.progress(30)
    stage.leads(leader)


def ring(stage):
    """Everybody who watches is told of a change."""
    serving = next(member for member in stage.all if member.mode())
    link = Link(serving.client_port, TIMEOUT_MS)
    rung = stage.watchers.ring(link)
    link.end()
    stage.watchers.heard(rung)


def one(victim):
    """kill -9 of one member: the others go on, and it comes back to them."""
    def case(stage):
        begin(stage)
        lose(stage, stage[victim])
        stage.finish()
    return case


def stops(victim):
    """SIGTERM to one member: it finishes what is in flight and leaves at once, which the others
    hear from its links and not from a limit's end."""
    def case(stage):
        begin(stage)
        lose(stage, stage[victim], signal.SIGTERM)
        stage.finish()
    return case


def each(stage):
    """Each member in turn, the leader of the moment among them."""
    begin(stage)
    others = [member for member in stage.all if member.id != stage.leader_id]
    for member in [stage[stage.leader_id], *others]:
        lose(stage, member)
    stage.finish()


def lose(stage, dying, how=signal.SIGKILL):
    was = dying.mode()
    if was is None:
        raise evidence.NoEvidence(f"{dying} does not serve, so its end means nothing")
    marks, asked_s = stage.marks(), time.monotonic()
    dying.end(how, 20)
    if how == signal.SIGTERM and time.monotonic() - asked_s >= 20:
        raise AssertionError(f"{dying} did not end when it was asked to")
    if how == signal.SIGTERM and was == "leader":
        for member in stage.running():
            found = member.wait_log(evidence.LINK_GONE[member.kind], marks.at[member.id], seconds(5))
            stage.proof(f"{member.id}: {found.group().strip()}")
    begin_s = time.monotonic()
    if was == "leader":
        heir = stage.leader(other_than=dying)
        stage.proof(f"{dying.id} was {was}, then led {heir.id}")
    else:
        stage.proof(f"{dying.id} was {was}")
    stage.history.progress(20)
    stage.proof(f"{time.monotonic() - begin_s:.1f} s to 20 more writes each")
    ring(stage)
    marks = stage.marks()
    dying.start()
    back = stage.serves(dying)
    leader = stage.leader()
    found = [evidence.BEGUN.format(sid=dying.id)]
    stage.proof(evidence.find(found[0], marks.said(leader), leader).strip())
    stage.proof(f"{dying.id} is {back} of {leader.id}")
    stage.history.progress(20)
    ring(stage)


def all_at_once(how):
    """Everything ends and begins again: nothing is lost, and no session."""
    def case(stage):
        begin(stage)
        for member in stage.all:
            member.send(how)
        for member in stage.all:
            member.end(how, 20)
        stage.proof("all were down")
        stage.all.start(wait=False)
        for member in stage.all:
            stage.serves(member)
        leader = stage.leader()
        stage.leads(leader)
        stage.history.progress(20)
        ring(stage)
        stage.finish()
    return case


def quorum(stage):
    """Two of three are gone: the third serves nobody, until there are two again."""
    begin(stage)
    left, other, leader = stage[1], stage[2], stage[3]
    for member in other, leader:
        member.kill()
    end = Deadline(20)
    while left.mode():
        if end.is_over():
            raise AssertionError(f"{left} serves without a quorum")
        time.sleep(0.02)
    # What was answered before may not be counted yet.
    time.sleep(1)
    counts = stage.history.acknowledged()
    time.sleep(1)
    if stage.history.acknowledged() != counts:
        raise AssertionError("writes are acknowledged without a quorum")
    stage.proof("1 alone serves nobody, and acknowledges nothing")
    other.start()
    stage.serves(other)
    stage.leads(stage.leader())
    stage.history.progress(20)
    leader.start()
    stage.serves(leader)
    ring(stage)
    stage.finish()


def serves(stage):
    """Clients at each of them, no disturbance."""
    begin(stage)
    stage.history.progress(150)
    for member in stage.all:
        link = Link(member.client_port, TIMEOUT_MS)
        link.create(f"/by-{member.id}", b"written through each")
        link.set(f"/by-{member.id}", b"and again")
        link.end()
        ring(stage)
    stage.proof(f"{stage.history.acknowledged()} writes while nothing happened")
    stage.finish()
