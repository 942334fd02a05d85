"""Configurations that change while the ensemble serves.

A Java server leads and is asked for the changes, since zkd does not serve `reconfig` itself; what
zkd makes of them as a follower, an observer, a newcomer, one who is removed and the next leader is
what these cases are about. The files of all members are compared byte for byte, and so is what
they show at /zookeeper/config.
"""

import os
import re
import struct
import time

import ports
from exchanging.link import SECRET, Link, Writer
from kazoo.exceptions import KazooException

import curator
import evidence
import history
from patience import Deadline, seconds
from stage import TIMEOUT_MS, change, spec

CONFIG = "/zookeeper/config"
SETTINGS = ("reconfigEnabled=true", "syncLimit=8")
DISABLED = -123
BY_ELECTION = r"New election\. My id"


# --- asking ---


def line(member, role="participant", client=None, quorum=None, election=None):
    """What a reconfiguration says of a member that is added or changed."""
    quorum, election = quorum or member.quorum_port, election or member.election_port
    client = client or member.client_port
    host = member.peer_host
    return f"server.{member.id}={host}:{quorum}:{election}:{role};127.0.0.1:{client}"


def ask(through, joining=None, leaving=None, members=None, version=-1):
    """By kazoo, as an administrator does; gives the version that is active then."""
    zk = history.client(through.address)
    try:
        zk.start(timeout=seconds(20))
        zk.add_auth("digest", SECRET)
        text, stat = zk.reconfig(joining, leaving, members, version)
    except KazooException as trouble:
        raise AssertionError(f"reconfig through {through}: {trouble!r}") from trouble
    finally:
        zk.stop()
        zk.close()
    version = version_of(text)
    if (stat.mzxid, stat.version) != (version, -1):
        raise AssertionError(f"{text} is answered with {stat}")
    return version


def refuse(through, code, **words):
    """Asked and refused for this reason."""
    link = Link(through.client_port, TIMEOUT_MS)
    link.auth(SECRET)
    link.call("reconfig", request(**words), code)
    link.end()


def ask_and_lose(through, **words):
    """Where the leader changes by it the answer may be lost; asked once, whatever comes."""
    link = Link(through.client_port, TIMEOUT_MS)
    link.auth(SECRET)
    link.send("reconfig", request(**words))
    try:
        err, _ = link.reply()
    except OSError:
        return
    finally:
        link.drop()
    if err:
        raise AssertionError(f"reconfig through {through}: {err}")


def request(joining=None, leaving=None, members=None, version=-1):
    return Writer().buf(joining).buf(leaving).buf(members).long(version)


def version_of(text):
    return int(re.search(rb"^version=(\w+)$", text, re.M).group(1), 16)


# --- looking ---


def shown(member):
    """What a client of this member reads at /zookeeper/config, and its stat."""
    link = Link(member.client_port, TIMEOUT_MS)
    reader = link.call("getData", Writer().buf(CONFIG).bool(False))
    data = reader.buf()
    stat = struct.unpack(">qqqqiiiqiiq", reader.take(68))
    link.end()
    return data, stat


def agreed(stage, members=None, version=None):
    """Until all of these show one configuration (of that version), and their files say so; the
    text."""
    members = members or stage.running()
    end = Deadline(30)
    while True:
        try:
            found = {member.id: shown(member) for member in members}
        except (OSError, AssertionError):
            found = {}
        texts = {data for data, _ in found.values()}
        if len(texts) == 1 and version in (None, version_of(*texts)):
            break
        if end.is_over():
            raise AssertionError(f"no agreement on {version and hex(version)}: {found}")
        time.sleep(0.05)
    (text,) = texts
    for member in members:
        data, stat = found[member.id]
        if (stat[1], stat[4]) != (version_of(text), -1):
            raise AssertionError(f"{member}: {data} with {stat}")
        filed(member, text)
    stage.proof(f"{[member.id for member in members]} agree on 0x{version_of(text):x}")
    return text


def filed(member, text):
    """The files that Java would have written: the newest names the members, the static file names
    it, and nothing is proposed any more."""
    path = f"{member.cfg}.dynamic.{version_of(text):x}"
    wanted = sorted(row for row in text.decode().split("\n") if not row.startswith("version="))
    end = Deadline(10)
    while True:
        static = read(member.cfg)
        found = read(path), f"dynamicConfigFile={path}\n" in static, "server." in static
        if found == ("\n".join(wanted), True, False):
            break
        if end.is_over():
            raise AssertionError(f"{member} has {path}: {found}, not {wanted}; and {static}")
        time.sleep(0.05)
    own = re.search(rf"^server\.{member.id}=.*;.*:(\d+)$", text.decode(), re.M)
    if own and "clientPort=" in static:
        raise AssertionError(f"{member} still has its client port in {static}")
    if not os.path.exists(f"{member.cfg}.bak"):
        raise AssertionError(f"{member} has not kept its first file")


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def silent(stage, member, mark, pattern=BY_ELECTION):
    """It has not said so since."""
    found = re.search(pattern, member.log_text(mark))
    if found:
        raise evidence.NoEvidence(f"{member} said {found.group()!r}:\n{member.log_tail()}")
    stage.proof(f"{member.id} did not say {pattern}")


# --- getting there ---


def begin(stage, writes=True):
    """2 leads, the others follow, clients write and watch; the first configuration has a
    version."""
    leader = stage[2]
    stage.lead(leader, *[member for member in stage.all if member.id < leader.id])
    for member in stage.all:
        if not member.is_running():
            stage.join(member)
    stage.fill(leader)
    if writes:
        write(stage)
    stage.leads(leader)
    agreed(stage, version=1 << 32)


def write(stage):
    stage.history.begin(stage.all.addresses())
    stage.watchers.begin(list(stage.all))
    stage.history.progress(10)


def newcomer(stage, kind, observer=False):
    """One more server, whose own file names it beside the others."""
    number = max(member.id for member in stage.all) + 1
    return stage.all.add(spec(kind, number, stage[2].spec.settings, observer))


def write_through(member):
    """It takes writes of a client, and gives them back."""
    link = Link(member.client_port, TIMEOUT_MS)
    link.create(f"/through-{member.id}", b"", expect=None)
    link.set(f"/through-{member.id}", b"%f" % time.monotonic())
    link.end()


def goes_on(stage):
    stage.history.progress(20)
    for member in stage.running():
        write_through(member)


# --- the cases ---


def grows_and_shrinks(stage):
    """A zkd that is in no configuration is made an observer, a voter, an observer again, and is
    removed, while it serves; another zkd, a follower, is removed and comes back."""
    begin(stage)
    leader, follower = stage[2], stage[3]
    new = newcomer(stage, "z", observer=True)
    stage.join_as(new, "follower")
    stage.proof("4 follows without a vote")
    agreed(stage, version=1 << 32)
    for role, mode in (
        ("observer", "observer"), ("participant", "follower"), ("observer", "observer"),
    ):
        version = ask(leader, joining=line(new, role))
        new.wait_mode(mode, seconds=seconds(20))
        agreed(stage, version=version)
        goes_on(stage)
        stage.proof(f"4 became {role}: {mode}")
    # Whom nobody has in his list goes on, and does not start again.
    for member in new, follower:
        version = ask(follower, leaving=str(member.id))
        member.wait_mode("follower", seconds=seconds(20))
        agreed(stage, version=version)
        goes_on(stage)
        mark = member.log_mark()
        member.stop()
        member.start()
        await_end(member, mark, f"My id {member.id} not in the peer list")
        stage.proof(f"{member.id} was removed, went on, and does not start again")
    del stage.all.members[new.id]
    # A server that is to come back is told so by its operator.
    os.remove(follower.cfg)
    stage.join_as(follower, "follower")
    version = ask(leader, joining=line(follower))
    agreed(stage, version=version)
    stage.finish()


def await_end(member, mark, words):
    end = Deadline(20)
    while member.is_running():
        if end.is_over():
            raise AssertionError(f"{member} starts though nobody knows it")
        time.sleep(0.05)
    if words not in member.log_text(mark):
        raise evidence.NoEvidence(f"{member} did not say {words!r}:\n{member.log_tail()}")


def whole(stage):
    """A new list instead of additions; its text, and what is refused, through a zkd follower."""
    begin(stage)
    follower = stage[3]
    everybody = [line(member) for member in stage.all]
    # The reasons in Java's order, brought back by zkd.
    refuse(follower, -8, members="server.1=nonsense")
    refuse(follower, -103, members=",".join(everybody), version=77)
    refuse(follower, -8, leaving="1,2")
    strangers = "server.9=127.0.0.1:1:2:participant;3,server.8=127.0.0.1:4:5;6"
    refuse(follower, -13, joining=strangers, leaving="1,3")
    agreed(stage, version=1 << 32)
    version = ask(follower, members=",".join(everybody))
    text = agreed(stage, version=version)
    if sorted(text.decode().split("\n")[:-1]) != sorted(everybody):
        raise AssertionError(f"{text} is not {everybody}")
    # The next one finds the version that it names.
    version = ask(follower, joining=line(stage[1], "observer"), version=version)
    stage[1].wait_mode("observer", seconds=seconds(20))
    agreed(stage, version=version)
    goes_on(stage)
    follows(stage, version)
    restarts(stage)
    stage.finish()


def follows(stage, version):
    """Curator finds the members by what a zkd shows it."""
    with curator.Tracker(stage[3].address) as tracker:
        wanted = {member.address for member in stage.all}
        tracker.await_addresses(wanted)
        stage.proof(f"Curator goes to {sorted(wanted)}")
        version = ask(stage[2], joining=line(stage[1]), version=version)
        agreed(stage, version=version)
        version = ask(stage[2], leaving="1", version=version)
        tracker.await_addresses(wanted - {stage[1].address})
        stage.proof("and no more to the one that was removed")
    version = ask(stage[2], joining=line(stage[1]), version=version)
    agreed(stage, version=version)


def restarts(stage):
    """Each member starts from what the files say, and the other server from the same."""
    text = agreed(stage)
    for number, letter in ((3, "z"), (3, "j"), (3, "z"), (1, "z"), (1, "j")):
        member = stage[number]
        member.stop()
        change(member, letter)
        member.start()
        mode = stage.serves(member)
        agreed(stage, version=version_of(text))
        stage.proof(f"{number} starts as {member.kind} from its files, {mode}")
    stage.history.progress(10)


def leader_leaves(stage):
    """The Java leader removes itself. Whom it designates leads, and nobody votes. A Java heir
    stands by what it has applied, not by what it has in its log: a write behind the configuration
    and it refuses everybody as ahead of it, so nobody writes before it leads."""
    leader, heir = stage[2], stage[1]
    is_bold = heir.kind == "zkd"
    begin(stage, writes=is_bold)
    marks = {member.id: member.log_mark() for member in stage.all}
    before = heir.epoch()
    ask_and_lose(leader, leaving="2")
    heir.wait_mode("leader", seconds=seconds(30))
    for member in stage.all:
        stage.serves(member)
    stage.leads(heir)
    if not is_bold:
        write(stage)
    for member in stage.all:
        if member.kind == "zkd":
            silent(stage, member, marks[member.id])
    agreed(stage)
    if heir.epoch() != before + 1:
        raise AssertionError(f"one leader, and epoch {heir.epoch()} after {before}")
    goes_on(stage)
    # It follows him who was designated, and is of no more use.
    evidence.mode_is(leader, "follower")
    leader.stop()
    del stage.all.members[2]
    stage.history.progress(20)
    stage.finish()


def leader_moves(stage):
    """The quorum port of the leader becomes another: that makes another leader, too. A zkd that
    was down meanwhile, whose file has everybody where nobody is any more, finds them. Nobody writes
    before that: where two of three are up, the old leader must not have more than the new."""
    begin(stage, writes=False)
    leader, heir, third = stage[2], stage[1], stage[3]
    moved = [ports.Port() for _ in range(2)]
    third.stop()
    version = ask(leader, joining=line(heir, quorum=moved[0].number))
    agreed(stage, version=version)
    ask_and_lose(leader, joining=line(leader, quorum=moved[1].number))
    heir.wait_mode("leader", seconds=seconds(30))
    stage.serves(leader)
    stage.leads(heir)
    agreed(stage)
    mark = third.log_mark()
    stage.join(third)
    third.wait_log("restarting leader election", mark, seconds(5))
    agreed(stage)
    write(stage)
    goes_on(stage)
    # Where it listens now is what the next leader is asked at.
    restarts_all(stage)
    stage.finish()
    for port in moved:
        port.end()


def restarts_all(stage):
    for member in stage.all:
        member.stop()
    for member in stage.all:
        member.start()
    for member in stage.all:
        stage.serves(member)
    agreed(stage)
    stage.history.progress(10)


def half_way(stage):
    """A configuration is proposed to one zkd and not committed when the leader dies: the zkd has
    it in a file, needs both quorums, wins them and brings it into effect."""
    begin(stage)
    leader, follower = stage[2], stage[3]
    first, second = newcomer(stage, "j"), newcomer(stage, "z")
    for member in first, second:
        stage.join_as(member, "follower")
    others = [stage[1], first, second]
    marks = follower.log_mark()
    link = Link(leader.client_port, TIMEOUT_MS)
    link.auth(SECRET)
    for member in others:
        member.pause()
    link.send("reconfig", request(f"{line(first)},{line(second)}"))
    path = f"{follower.cfg}.dynamic.next"
    end = Deadline(5)
    while f"server.{second.id}=" not in read(path):
        if end.is_over():
            raise evidence.NoEvidence(f"{path} does not come")
        time.sleep(0.01)
    proposed = read(path)
    stage.proof(f"proposed, and in its file: {proposed.splitlines()[-1]}")
    leader.kill()
    link.drop()
    stage[1].kill()
    # Alone with one of the old ones it has a quorum of those, and none of the new.
    stage[1].start()
    time.sleep(seconds(3))
    if follower.mode() or stage[1].mode():
        raise AssertionError("one quorum is not two")
    if read(path) != proposed:
        raise AssertionError(f"{path} has become {read(path)!r}")
    # Nor does a restart make it forget.
    follower.restart()
    first.resume()
    follower.wait_mode("leader", seconds=seconds(30))
    version = int(proposed.rsplit("version=", 1)[1], 16)
    agreed(stage, [stage[1], follower, first], version)
    stage.leads(follower)
    follower.wait_log(r"LEADING", marks)
    second.resume()
    stage.join(leader)
    agreed(stage, version=version)
    goes_on(stage)
    stage.finish()


def refused(stage):
    """Asked of a zkd that leads, Apache's answer for where it is disabled."""
    begin_led(stage)
    for member in stage.all:
        refuse(member, DISABLED, joining=line(stage[1]))
    agreed(stage, version=1 << 32)
    restarts(stage)
    stage.finish()


def begin_led(stage):
    stage.lead(stage[2], stage[1])
    stage.join(stage[3])
    stage.fill(stage[2])
    stage.history.begin(stage.all.addresses())
    stage.history.progress(10)
    agreed(stage, version=1 << 32)


def ports_move(stage):
    """A zkd listens where a configuration says: to clients, whose connections stay, and to
    members, who follow it there."""
    begin(stage)
    leader, third = stage[2], stage[3]
    moved = [ports.Port() for _ in range(3)]
    client, quorum, election = (port.number for port in moved)
    link = Link(third.client_port, TIMEOUT_MS)
    version = ask(leader, joining=line(third, client=client))
    third.client_port = client
    agreed(stage, version=version)
    link.create("/stays", b"over the old port")
    link.end()
    goes_on(stage)
    version = ask(leader, joining=line(third, quorum=quorum, election=election))
    agreed(stage, version=version)
    stage.proof(f"3 listens at {client}, {quorum} and {election}")
    # The greatest of those that are left: the others find it at its new ports.
    leader.stop()
    third.wait_mode("leader", seconds=seconds(30))
    stage.serves(stage[1])
    stage.leads(third)
    stage.join(leader)
    goes_on(stage)
    restarts_all(stage)
    stage.finish()
    for port in moved:
        port.end()


def feeds_promoted(stage):
    """A zkd that a configuration makes a voter opens its `observerMasterPort`: a Java observer comes
    to it when the follower that fed it is gone, and finds nobody else."""
    door = ports.Port()
    for member in stage.all:
        member.live_at(f"127.0.0.{member.id + 1}")
    master, observer = stage[3], stage[4]
    for member in master, observer:
        member.set(f"observerMasterPort={door.number}")
    begin(stage)
    leader, new = stage[2], newcomer(stage, "z", observer=True)
    new.live_at(f"127.0.0.{new.id + 1}")
    new.set(f"observerMasterPort={door.number}")
    stage.join_as(new, "follower")
    for role, mode in ("observer", "observer"), ("participant", "follower"):
        version = ask(leader, joining=line(new, role))
        new.wait_mode(mode, seconds=seconds(20))
        agreed(stage, version=version)
    mark = new.log_mark()
    master.kill()
    new.wait_log(evidence.BEGUN.format(sid=observer.id), mark, seconds(60))
    observer.wait_mode("observer", seconds=seconds(60))
    stage.proof(f"{new.id} feeds {observer.id} since it votes")
    stage.join(master)
    goes_on(stage)
    stage.finish()
    door.end()
