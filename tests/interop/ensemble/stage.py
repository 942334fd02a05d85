"""The ensemble of one case: who plays which part, what it does, and what must hold in the end."""

import os
import re
import subprocess
import sys
import time

import ensemble
from exchanging import content
from exchanging.link import SUPER, Link, Writer, differences, look

import evidence
from history import History
from living import Watchers
from patience import Deadline, seconds

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT_MS = int(seconds(120000))
# What a letter in a case's name stands for. `play` puts others into a part, which is how the cases
# prove themselves with Apache alone.
PARTS = {"z": "zkd", "j": "3.9.5", "m": "3.9.4", "o": "3.8.0"}
JUDGE = "3.9.5"
SETTINGS = [
    f"tickTime={int(seconds(500))}", "initLimit=40", "syncLimit=12", "maxSessionTimeout=600000",
    "-Dzookeeper.extendedTypesEnabled=true", "-Dzookeeper.preAllocSize=4096",
    f"-Dzookeeper.DigestAuthenticationProvider.superDigest={SUPER}",
]
# For the JVMs: what a leader says about TRUNC it says to itself.
QUIET_WORDS = [
    f"-Dlog4j2.configurationFile={HERE}/log4j2.properties",
    "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.quorum.LearnerHandler=debug",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
]
COMPLAINTS = ("igest mismatch", "Digests are not matching")
# Each member says this for itself, and not all of it comes from the log.
OWN = "/zookeeper/config"


def play(words):
    """Takes LETTER=SERVER, ... where a server is zkd or a version of Apache."""
    for word in filter(None, (words or "").split(",")):
        letter, server = word.split("=", 1)
        if letter not in PARTS:
            sys.exit(f"interop-matrix: no part is called {letter}; there are {' '.join(PARTS)}")
        PARTS[letter] = server


def spec(letter, number, words, observer=False):
    server = PARTS[letter]
    if server == "zkd":
        return ensemble.zkd(number, *words, observer=observer)
    return ensemble.apache(number, server, *words, observer=observer)


def change(member, letter):
    """The server that plays this part takes the member's directory over."""
    server = PARTS[letter]
    member.become(*(("zkd", "") if server == "zkd" else ("apache", server)))


class Stage:
    """Members by id. `letters` is one letter a member, from id 1 on; `observer` is an id."""

    def __init__(self, folder, letters, observer=0, settings=(), binary="", leader=2):
        words = [*SETTINGS, *settings]
        specs = [spec(letter, n, words, n == observer) for n, letter in enumerate(letters, 1)]
        self.folder, self.settings = folder, list(settings)
        where = os.path.join(folder, "members")
        self.all = ensemble.Ensemble.create(where, specs, [], binary, True)
        self.history, self.watchers = History(), Watchers()
        self.relays, self.proofs = [], []
        self.leader_id = leader
        self.seed, self.is_masked = None, False
        self.begun = time.monotonic()

    def __getitem__(self, number):
        return self.all[number]

    def proof(self, lines):
        """What a case has seen, and when."""
        at_s = time.monotonic() - self.begun
        for line in lines if isinstance(lines, list) else [lines]:
            self.proofs.append(f"{at_s:5.1f} s  {line}")

    def running(self):
        return [member for member in self.all if member.is_running()]

    def marks(self):
        return evidence.Marks(self.all)

    # --- getting there ---

    def lead(self, leader, *others):
        """Starts these members, of which the first must come to lead: it has the greatest vote."""
        members = [leader, *others]
        new = [member for member in members if member.kind == "apache" and member.epoch() is None]
        self.all.start([member.id for member in members], wait=False)
        try:
            self.serve(members)
        except ensemble.EnsembleError as error:
            # A JVM that ended before it spoke to anybody was not ended by us.
            ended = [m for m in new if not m.is_running() and "LOOKING" not in m.log_text()]
            if not ended:
                raise
            self.proof(f"started again: {error}")
            for member in ended:
                member.start()
            self.serve(members)
        self.leads(leader)

    def serve(self, members):
        """Waits until all do."""
        for member in members:
            member.wait_serving(seconds(60), members)

    def leads(self, leader):
        self.proof(evidence.mode_is(leader, "leader"))

    def join(self, member):
        self.join_as(member, "observer" if member.observer else "follower")

    def join_as(self, member, mode):
        member.start()
        member.wait_mode(mode, seconds=seconds(60))

    def serves(self, member):
        """Waits until it does; gives its mode."""
        return member.wait_serving(seconds(60))

    def leader(self, other_than=None):
        """Waits until somebody leads."""
        return self.all.wait_leader(seconds(60), other_than)

    def fill(self, member, wide=False):
        """One node of each kind, an ephemeral session among them; `wide`: and 4 MB more."""
        self.seed = content.kinds(member.client_port, "/seed", create2_in_multi=False)
        if wide:
            link = Link(member.client_port, TIMEOUT_MS)
            content.wide(link, "/wide", 400, 10000)
            link.end()

    def small_writes(self, member, count=20):
        link = Link(member.client_port, TIMEOUT_MS)
        for n in range(count):
            link.create(f"/small-{n}", b"small", expect=None)
            link.set(f"/small-{n}", b"%d" % count)
        link.end()

    def bulk(self, member, count, size, top="/bulk"):
        """Large writes over a few nodes, many in flight: more log than tree."""
        link = Link(member.client_port, TIMEOUT_MS)
        names = [f"{top}{n:02}" for n in range(10)]
        for name in names:
            link.create(name, b"", expect=None)
        sent = 0
        for n in range(count):
            value = (b"%06d" % n) * (size // 6)
            link.send("setData", Writer().buf(names[n % 10]).buf(value).int(-1))
            sent += 1
            if sent == 40:
                sent -= content.answered(link, 20)
        content.answered(link, sent)
        link.end()

    def settle_writing(self, member):
        """Until a member has applied what the leader had when this was asked."""
        wanted = self.all.leader().zxid()
        end = Deadline(20)
        while (member.zxid() or 0) < wanted:
            if end.is_over():
                raise AssertionError(f"{member} does not come to 0x{wanted:x}")
            time.sleep(0.02)

    # --- the end ---

    def settle(self):
        """Until all members that run have applied the same."""
        link = Link(self.running()[0].client_port, TIMEOUT_MS)
        link.create("/settled", b"", expect=None)
        link.end()
        end = Deadline(40)
        while True:
            zxids = {member.id: member.zxid() for member in self.running()}
            if None not in zxids.values() and len(set(zxids.values())) == 1:
                return
            if end.is_over():
                raise AssertionError(
                    "the members do not come together: "
                    + str({n: zxid and hex(zxid) for n, zxid in zxids.items()})
                )
            time.sleep(0.02)

    def tree(self, port):
        found = look(port)
        data, _, acl = found[OWN]
        found[OWN] = None if self.is_masked else (data, acl)
        return found

    def finish(self):
        """No more writes; every member holds the same tree, with all that was acknowledged in it;
        Java opens every directory and finds that tree."""
        self.history.halt()
        if self.watchers.sessions:
            link = Link(self.running()[0].client_port, TIMEOUT_MS)
            self.watchers.heard(self.watchers.ring(link))
            link.end()
        ids = {member.id for member in self.all} - {member.id for member in self.running()}
        if ids:
            raise AssertionError(f"members {ids} do not run")
        self.keep_seed()
        self.settle()
        members = list(self.all)
        tree = self.tree(members[0].client_port)
        for member in members[1:]:
            differences(tree, self.tree(member.client_port), f"{members[0]} and {member}")
        self.history.check(tree)
        never = [path for path in tree if path.startswith("/never-")]
        if never:
            raise AssertionError(f"nobody agreed to {never}")
        self.watchers.check(tree)
        self.watchers.halt()
        self.proof(f"{len(tree) - 2} nodes alike, {self.history.acknowledged()} acknowledged")
        self.history.close()
        if self.seed:
            self.seed.drop()
        self.all.stop()
        tree = {path: node for path, node in tree.items() if not path.startswith("/history/w")}
        self.open_all(tree)
        self.complaints()

    def keep_seed(self):
        """The session that holds the first ephemerals goes on wherever it is taken."""
        if not self.seed:
            return
        port = self.running()[0].client_port
        self.seed.drop()
        self.seed = Link(port, TIMEOUT_MS, self.seed.session, self.seed.passwd)

    def open_all(self, tree):
        """Java opens what each member has left: standalone, all at the same time."""
        opened = []
        try:
            for member in self.all:
                place = os.path.join(self.folder, f"opened-{member.id}")
                words = [word for word in SETTINGS if word.startswith("-D")]
                words += [word for word in self.settings if word.startswith("-Djute.")]
                command = [
                    ensemble.APACHE, "start", JUDGE, "--seconds", str(int(seconds(30))), "--dir", place, f"dataDir={member.data}",
                    "maxSessionTimeout=600000", *words,
                ]
                child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, text=True,
                )
                opened.append((member, place, child))
            for member, place, child in opened:
                out, err = child.communicate(timeout=seconds(90))
                if child.returncode:
                    raise AssertionError(f"Java does not open what {member} left:\n{err}")
                found = self.tree(int(out.split()[0]))
                self.compare_opened(tree, found, member)
        finally:
            for _, place, child in opened:
                child.kill()
                child.wait()
                subprocess.run([ensemble.APACHE, "stop", "--kill", "--dir", place], check=True)

    def compare_opened(self, tree, found, member):
        """But for what ended with its session after the members were compared, and for counts."""
        gone = {path for path in found if path.startswith("/history/w")}
        kept = {path: node for path, node in found.items() if path not in gone}
        for one in tree, kept:
            for name in OWN, "zk_znode_count", "zk_ephemerals_count", "/history":
                one.pop(name, None)
        differences(tree, kept, f"what Java finds in the directory of {member}")

    def complaints(self):
        """Digests that differ; but what Java sends as a snapshot while it writes is of no one
        zxid, and whoever has got it says so itself."""
        logs = {member: member.log_text() for member in self.all}
        is_fuzzy = any("Sending snapshot last zxid" in text for text in logs.values())
        for member, text in logs.items():
            if is_fuzzy and re.search(evidence.LEARNER["snap"], text):
                continue
            for line in text.splitlines():
                if any(words in line for words in COMPLAINTS):
                    raise AssertionError(f"{member} complains: {line}")

    def end(self, remove=True):
        """Whatever has happened, nothing is left running."""
        self.watchers.halt()
        for relay in self.relays:
            relay.end()
        self.all.purge() if remove else self.all.stop(kill=True)
