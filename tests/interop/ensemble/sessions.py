"""Sessions: those that are one server's alone, those that become the whole ensemble's, those that
move. The same is asked at every role, of Apache and of zkd, and the same is expected."""

import re
import time

from golden.jute import Writer

from patience import Deadline, seconds
from visitor import Closed, Visitor, create

LOCAL = ["localSessionsEnabled=true", "minSessionTimeout=500"]
UPGRADED = [*LOCAL, "localSessionsUpgradingEnabled=true"]
NO_EPHEMERALS, NO_SESSION = -120, -112


def begin(stage):
    """2 leads, 1 follows, 3 observes."""
    leader, follower, observer = stage[2], stage[1], stage[3]
    stage.lead(leader, follower)
    stage.join(observer)
    # Until its first txn a follower of an empty ensemble says that it has none.
    stage.settle()
    return leader, follower, observer


def places(stage):
    """Each member, with two others and its role's name."""
    leader, follower, observer = begin(stage)
    yield "leader", leader, (follower, observer)
    yield "follower", follower, (leader, observer)
    yield "observer", observer, (leader, follower)


def counts(member):
    """(global, local) sessions, by mntr."""
    found = member.mntr()
    return int(found["zk_global_sessions"]), int(found["zk_local_sessions"])


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, not {wanted!r}")


def becomes(question, wanted, what):
    """The answer comes to be that one."""
    end = Deadline(20)
    while (found := question()) != wanted:
        if end.is_over():
            raise AssertionError(f"{what}: {found!r}, not {wanted!r}")
        time.sleep(0.02)


def settled(stage):
    """The zxid that all have applied."""
    end = Deadline(20)
    while True:
        zxids = {member.zxid() for member in stage.all}
        if len(zxids) == 1 and None not in zxids:
            return zxids.pop()
        if end.is_over():
            raise AssertionError(f"the members do not come together: {zxids}")
        time.sleep(0.02)


def finish(stage):
    """Every directory is one that Java opens, with the same tree in it."""
    stage.settle()
    members = list(stage.all)
    tree = stage.tree(members[0].client_port)
    stage.all.stop()
    stage.open_all(tree)
    stage.complaints()


# --- one server's alone ---


def stays_local(stage):
    """Upgrades are off: what such a session may, and that nobody else hears of it."""
    for role, here, others in places(stage):
        lives_and_dies(stage, role, here, others)
        is_refused_ephemerals(stage, role, here)
        comes_back(stage, role, here, others)
        falls_silent(stage, role, here)
        stage.proof(f"{role}: no txn, no ephemeral, no other server knows of it; it expires")
    finish(stage)


def lives_and_dies(stage, role, here, others):
    before = settled(stage)
    one = Visitor(here.client_port)
    assert one.is_welcome, f"{role}: {one.hello}"
    equal(settled(stage), before, f"{role}: zxid when a session began")
    equal(counts(here), (0, 1), f"{role}: global and local sessions")
    for other in others:
        equal(counts(other), (0, 0), f"sessions at another than the {role}")
    listed(role, here, one.session, others)
    equal(one.create(f"/by-{role}"), 0, f"{role}: create")
    equal(one.set(f"/by-{role}"), 0, f"{role}: setData")
    equal(one.get(f"/by-{role}"), 0, f"{role}: getData")
    equal(one.ask("sync", Writer().buf("/")), 0, f"{role}: sync")
    equal(settled(stage) - before, 2, f"{role}: two writes")
    equal(one.end(), 0, f"{role}: closeSession")
    assert one.is_closed(), f"{role}: the connection outlives its session"
    equal(settled(stage) - before, 2, f"{role}: zxid when a session ended")
    equal(counts(here), (0, 0), f"{role}: sessions behind the end")
    assert Visitor(here.client_port, one.session).is_refused, f"{role}: a closed session lives"


def listed(role, here, session, others):
    """dump: a learner knows of global sessions, a leader when they are over."""
    name = f"\t0x{session:x}\n"
    text = here.four_letter("dump")
    found = re.search(r"^Local Session Sets \(\d+\)/\(1\):\n1 expire at .*\n(.*\n)", text, re.M)
    equal(found and found.group(1), name, f"{role}: local sessions of dump\n{text}")
    wanted = r"^Global Session Sets \(\d+\)/\(0\):" if role == "leader" else r"^Global Sessions\(0\):"
    assert re.search(wanted, text, re.M), f"{role}: global sessions of dump\n{text}"
    assert f"sid=0x{session:x}," in here.four_letter("cons"), f"{role}: cons does not name it"
    for other in others:
        assert name not in other.four_letter("dump"), f"another than the {role} lists it"


def is_refused_ephemerals(stage, role, here):
    before = settled(stage)
    one = Visitor(here.client_port)
    equal(one.create("/e", 1), NO_EPHEMERALS, f"{role}: create of an ephemeral")
    equal(one.create("/e", 3, "create2"), NO_EPHEMERALS, f"{role}: create2 of one")
    # A leader says of another server's what it says of any session that it does not know.
    inside = NO_EPHEMERALS if role == "leader" else NO_SESSION
    equal(one.multi((f"/m-{role}", 0), ("/e", 1), ("/n", 0)), [0, inside, -2], f"{role}: multi")
    equal(one.multi((f"/m-{role}", 0), (f"/n-{role}", 2)), [0, 0], f"{role}: multi without one")
    equal(settled(stage) - before, 4, f"{role}: refusals are txns, too")
    equal(one.owner("/e"), None, f"{role}: the ephemeral")
    equal(counts(here), (0, 1), f"{role}: still a local session")
    one.end()


def comes_back(stage, role, here, others):
    one = Visitor(here.client_port)
    for other in others:
        stranger = Visitor(other.client_port, one.session)
        assert stranger.is_refused, f"a local session of the {role} is taken elsewhere"
        assert stranger.is_closed(), "who is refused may stay"
    equal(one.set(f"/by-{role}"), 0, f"{role}: it lives on")
    again = Visitor(here.client_port, one.session)
    assert again.is_welcome and again.session == one.session, f"{role}: it is not taken back"
    assert one.is_closed(), f"{role}: its former connection stays"
    wrong = Visitor(here.client_port, one.session, b"\0" * 16)
    assert wrong.is_refused, f"{role}: a wrong password will do"
    assert again.is_closed(), f"{role}: who comes with a wrong password parts nobody"
    again = Visitor(here.client_port, one.session)
    equal(again.set(f"/by-{role}"), 0, f"{role}: it lives on after that")
    again.end()


def falls_silent(stage, role, here):
    before = settled(stage)
    one = Visitor(here.client_port, timeout=1500)
    lasts_ms = int.from_bytes(one.hello[4:8], "big")
    for _ in range(4):
        time.sleep(lasts_ms / 2000)
        one.ping()
    equal(counts(here), (0, 1), f"{role}: a session that pings")
    assert one.is_closed(), f"{role}: it does not expire"
    becomes(lambda: counts(here), (0, 0), f"{role}: sessions behind the expiry")
    assert Visitor(here.client_port, one.session).is_refused, f"{role}: an expired session lives"
    equal(settled(stage), before, f"{role}: zxid when a session expired")


# --- the whole ensemble's from its first ephemeral on ---


def is_upgraded(stage):
    for role, here, others in places(stage):
        becomes_global(stage, role, here, others)
        is_pipelined(stage, role, here)
        stage.proof(f"{role}: createSession once, before the first ephemeral")
    finish(stage)


def becomes_global(stage, role, here, others):
    before = settled(stage)
    one = Visitor(here.client_port)
    equal(one.create(f"/by-{role}"), 0, f"{role}: create")
    equal((settled(stage) - before, counts(here)), (1, (0, 1)), f"{role}: still local")
    equal(one.create("/e", 1), 0, f"{role}: an ephemeral")
    equal(settled(stage) - before, 3, f"{role}: the session before it")
    equal(one.owner("/e"), one.session, f"{role}: its owner")
    for member in stage.all:
        equal(counts(member), (1, 0), f"{role}: sessions at {member.id}")
    equal(one.create("/f", 3, "create2"), 0, f"{role}: another")
    equal(one.multi(("/g", 1)), [0], f"{role}: another in a multi")
    equal(settled(stage) - before, 5, f"{role}: once")
    moved = one
    for other in others:
        came = Visitor(other.client_port, one.session)
        assert came.is_welcome, f"{role}: a session that is everybody's is not taken"
        equal(came.set(f"/by-{role}"), 0, f"{role}: a write where it has gone")
        equal(moved.set(f"/by-{role}"), "closed", f"{role}: a write where it was")
        moved = came
    equal(moved.end(), 0, f"{role}: closeSession")
    settled(stage)
    for member in stage.all:
        equal(counts(member), (0, 0), f"{role}: sessions at {member.id} behind the end")
        looks = Visitor(member.client_port)
        equal([looks.owner(path) for path in ("/e", "/f", "/g")], [None, None, None],
              f"{role}: its ephemerals at {member.id}")
        looks.end()


def is_pipelined(stage, role, here):
    """Requests that do not wait for each other."""
    before = settled(stage)
    one = Visitor(here.client_port)
    one.send("create", create("/p", 1))
    one.send("create", create("/q", 1))
    one.send("exists", Writer().buf("/q").bool(False))
    one.send("closeSession")
    found = [one.reply()[0] for _ in range(4)]
    equal(found, [0, 0, 0, 0], f"{role}: a session that comes and goes in one breath")
    equal(settled(stage) - before, 4, f"{role}: session, two nodes, the end")
    equal(counts(here), (0, 0), f"{role}: sessions behind it")
    # A multi alone, and one that fails: the session stays global.
    one = Visitor(here.client_port)
    equal(one.multi(("/none/e", 1)), [-101], f"{role}: a multi that fails")
    settled(stage)
    equal(counts(here), (1, 0), f"{role}: upgraded for nothing")
    one.end()


# --- sessions of the whole ensemble that move ---


def moves(stage):
    """A request by way of a server that its session has left ends that connection, unanswered."""
    for role, here, others in places(stage):
        one = Visitor(here.client_port)
        equal(one.create(f"/by-{role}"), 0, f"{role}: create")
        settled(stage)
        came = Visitor(others[0].client_port, one.session)
        assert came.is_welcome, f"{role}: its session does not move"
        equal(one.set(f"/by-{role}"), "closed", f"{role}: a write where it was")
        equal(came.set(f"/by-{role}"), 0, f"{role}: a write where it is")
        back = Visitor(here.client_port, one.session)
        assert back.is_welcome, f"{role}: its session does not come back"
        equal(came.multi(("/never-moved", 0)), "closed", f"{role}: a multi where it was")
        equal(back.end(), 0, f"{role}: closeSession")
        stage.proof(f"{role}: who speaks where his session was is not answered")
    looks = Visitor(stage[1].client_port)
    equal(looks.owner("/never-moved"), None, "what was asked where its session was")
    looks.end()
    finish(stage)
