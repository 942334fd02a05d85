"""A local ensemble on loopback, any mix of zkd and Apache: made, started, broken, removed.

Used by scripts/ensemble for people and by the tests that need real members. One folder holds it:

    FOLDER/ensemble.json    who the members are: written by `Ensemble.create`, read by `.open`
    FOLDER/N/               one member: zoo.cfg, server.log, pid
    FOLDER/N/data/          its dataDir: myid, version-2

What runs is known by its pid file, and a pid counts only while its command line names that member's
zoo.cfg: nothing is ever ended by name. Servers listen on 127.0.0.1 alone, on ports of `ports`,
unless the ensemble is given a network of its own.

    with Ensemble.create(folder, [zkd(1), zkd(2), apache(3, "3.9.5")], attached=True) as ensemble:
        ensemble.start()
        leader = ensemble.leader()
        mark = ensemble[1].log_mark()
        leader.kill()
        ensemble.wait_leader()
        ensemble[1].wait_log(r"LEADING|FOLLOWING", mark)
        leader.become("zkd")        # the same directory, the other server
        leader.start()
"""

import contextlib
import dataclasses
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "lib"))

import ports  # noqa: E402

APACHE = os.path.join(ROOT, "scripts", "apache")
DEFAULT_APACHE = "3.9.5"
NAME = "ensemble.json"
MARK = "scripts/ensemble"
# A JVM beside others on two cores takes its time.
PATIENCE_S = 60
# What every member's zoo.cfg says unless it is told otherwise.
SETTINGS = {
    "tickTime": "2000",
    "initLimit": "10",
    "syncLimit": "5",
    "maxClientCnxns": "0",
    "4lw.commands.whitelist": "*",
    "admin.enableServer": "false",
}


class EnsembleError(Exception):
    """What was asked for cannot be had, in a sentence."""


@dataclasses.dataclass
class Spec:
    """What a member is. `settings` are words as elsewhere in scripts: key=value, -Dname=value.
    `host` is where other members find it: another address of loopback, where they need one each."""

    id: int
    kind: str = "zkd"
    version: str = ""
    observer: bool = False
    settings: list = dataclasses.field(default_factory=list)
    host: str = "127.0.0.1"

    def __post_init__(self):
        if self.kind not in ("zkd", "apache"):
            raise EnsembleError(f"member {self.id}: '{self.kind}' is neither zkd nor apache")
        if self.kind == "apache" and not self.version:
            self.version = DEFAULT_APACHE


def zkd(number, *settings, observer=False):
    """A member that runs the zkd of the ensemble."""
    return Spec(number, "zkd", "", observer, list(settings))


def apache(number, version=DEFAULT_APACHE, *settings, observer=False):
    """A member that runs Apache; the version is one that scripts/apache knows."""
    return Spec(number, "apache", version, observer, list(settings))


class Member:
    """One server of an ensemble, running or not. Made by `Ensemble`."""

    def __init__(self, ensemble, spec, numbers):
        self.ensemble, self.spec = ensemble, spec
        self.id = spec.id
        self.client_port, self.quorum_port, self.election_port = numbers
        self.folder = os.path.join(ensemble.folder, str(spec.id))
        self.data = os.path.join(self.folder, "data")
        self.cfg = os.path.join(self.folder, "zoo.cfg")
        self.log = os.path.join(self.folder, "server.log")
        self.child = None  # where this process has started it

    def __repr__(self):
        return f"<member {self.id}: {self.kind} {self.spec.version} pid {self.pid()}>"

    # --- what it is ---

    @property
    def kind(self):
        """"zkd" or "apache"."""
        return self.spec.kind

    @property
    def version(self):
        """Apache's version; empty for zkd."""
        return self.spec.version

    @property
    def observer(self):
        return self.spec.observer

    @property
    def ports(self):
        """(client, quorum, election)."""
        return self.client_port, self.quorum_port, self.election_port

    @property
    def host(self):
        """Where its clients come to: 127.0.0.1, unless the ensemble has a network."""
        network = self.ensemble.network
        return network.host(self.id) if network else "127.0.0.1"

    @property
    def peer_host(self):
        """Where the others find it."""
        return self.host if self.ensemble.network else self.spec.host

    @property
    def address(self):
        """For clients: HOST:PORT."""
        return f"{self.host}:{self.client_port}"

    def live_at(self, host):
        """Where the others find it from their next start on; it is ours to choose on loopback."""
        self.spec.host = host
        self.ensemble.save()

    def become(self, kind, version=""):
        """The other server over the same directory, from the next start on."""
        if self.is_running():
            raise EnsembleError(f"member {self.id} runs; stop it first")
        self.spec = dataclasses.replace(self.spec, kind=kind, version=version)
        self.ensemble.save()

    def set(self, *settings):
        """More words for its zoo.cfg and command line, from the next start on; the last counts."""
        self.spec.settings.extend(settings)
        self.ensemble.save()

    # --- its life ---

    def start(self, wait=False, seconds=PATIENCE_S):
        """Starts its process. `wait`: until it serves, which needs a quorum."""
        if self.is_running():
            raise EnsembleError(f"member {self.id} runs already: pid {self.pid()}")
        self.write_files()
        flags = [word for word in self.spec.settings if word.startswith("-D")]
        if self.kind == "apache":
            command = [APACHE, "run", self.version, "--dir", self.folder, "--cfg", self.cfg]
            command += ["--port", str(self.client_port), "--log", self.log, *flags]
            command += ["--die-with-parent"] if self.ensemble.attached else []
            command = [sys.executable, *command]
        else:
            command = [self.ensemble.binary_path(), *flags, self.cfg]
            if self.ensemble.attached:
                command = ["setpriv", "--pdeathsig", "KILL", *command]
        if self.ensemble.network:
            command = [*self.ensemble.network.prefix(self.id), *command]
        with open(self.log, "ab") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                start_new_session=not self.ensemble.attached,
                pass_fds=self.ensemble.holds(),
            )
        write(os.path.join(self.folder, "pid"), f"{self.child.pid}\n")
        if wait:
            self.wait_serving(seconds)

    def stop(self, seconds=PATIENCE_S):
        """SIGTERM, and SIGKILL where that does not end it in time; returns when it is gone."""
        self.resume()
        self.end(signal.SIGTERM, seconds)

    def kill(self):
        """kill -9; returns when it is gone."""
        self.end(signal.SIGKILL, PATIENCE_S)

    def restart(self, wait=False, kill=False):
        self.kill() if kill else self.stop()
        self.start(wait)

    def pause(self):
        """SIGSTOP: when this returns, none of its threads runs until `resume`."""
        self.send(signal.SIGSTOP)
        end = time.monotonic() + PATIENCE_S
        while any(state not in "TtZX" for state in self.thread_states()):
            if time.monotonic() > end:
                raise EnsembleError(f"{self} does not stand still")

    def thread_states(self):
        """As the kernel has them: R, S, T and so on."""
        states = []
        for path in glob.glob(f"/proc/{self.pid()}/task/*/stat"):
            with contextlib.suppress(OSError), open(path) as file:  # or it has ended
                states.append(file.read().rpartition(")")[2].split()[0])
        return states

    def resume(self):
        self.send(signal.SIGCONT)

    def send(self, number):
        """A signal, where it runs."""
        pid = self.pid()
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return

    def end(self, number, seconds):
        end, pid = time.monotonic() + seconds, self.pid()
        if pid is not None:
            self.send(number)
        while self.pid() is not None:
            if time.monotonic() > end:
                self.send(signal.SIGKILL)
                end = time.monotonic() + PATIENCE_S
            time.sleep(0.01)
        if self.child:
            self.child.wait()
            self.child = None

    def pid(self):
        """The pid of its process; None where none runs, or where the pid is another's by now."""
        if self.child is not None:
            # Nobody else has its pid until it was waited for; its command line comes by exec.
            return None if self.child.poll() is not None else self.child.pid
        try:
            with open(os.path.join(self.folder, "pid")) as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            state = process_state(pid)
        except (OSError, ValueError, IndexError):
            return None
        is_ours = os.fsencode(self.cfg) in words or os.fsencode(self.folder) in words
        return pid if is_ours and state not in "ZX" else None

    def is_running(self):
        return self.pid() is not None

    def is_paused(self):
        pid = self.pid()
        try:
            return pid is not None and process_state(pid) in "Tt"
        except OSError:
            return False  # it has just ended

    def exit_status(self):
        """How it ended, where this process had started it: as subprocess says it."""
        return self.child.poll() if self.child else None

    # --- what it says ---

    def four_letter(self, word, seconds=2):
        """The answer to srvr, mntr, stat, conf, ruok … as text; "" where nobody answers."""
        try:
            with socket.create_connection((self.host, self.client_port), seconds) as link:
                link.settimeout(seconds)
                link.sendall(word.encode())
                answer = b""
                while chunk := link.recv(65536):
                    answer += chunk
        except OSError:
            return ""
        return answer.decode("utf-8", "replace")

    def mode(self):
        """leader, follower, observer, standalone, read-only; None where it does not serve."""
        found = re.search(r"^Mode: (\S+)", self.four_letter("srvr"), re.M)
        return found.group(1) if found else None

    def zxid(self):
        """The last zxid that it has applied, by srvr; None where it does not serve."""
        found = re.search(r"^Zxid: 0x([0-9a-f]+)", self.four_letter("srvr"), re.M)
        return int(found.group(1), 16) if found else None

    def mntr(self):
        """Every `zk_name` with its value as text; empty where it does not serve."""
        lines = self.four_letter("mntr", seconds=5).splitlines()
        pairs = (line.split("\t", 1) for line in lines if "\t" in line)
        return {name: value.strip() for name, value in pairs}

    def epoch(self, name="currentEpoch"):
        """What its file of that name (or `acceptedEpoch`) holds; None where there is none."""
        try:
            with open(os.path.join(self.data, "version-2", name)) as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def wait_serving(self, seconds=PATIENCE_S, beside=()):
        """Until it serves, which none of those beside it may miss; gives its mode."""
        return self.wait(self.mode, seconds, "does not serve", beside)

    def wait_mode(self, *modes, seconds=PATIENCE_S):
        """Until it is one of these; gives which."""
        def reached():
            mode = self.mode()
            return mode if mode in modes else None
        return self.wait(reached, seconds, f"is not {' or '.join(modes)}")

    def wait(self, question, seconds, trouble, beside=()):
        """Asks until the answer is true and gives it; raises where it, or one beside it, ends."""
        end = time.monotonic() + seconds
        while True:
            answer = question()
            if answer:
                return answer
            for member in (one for one in [self, *beside] if not one.is_running()):
                raise EnsembleError(f"member {member.id} ended, {member.exit_status()} ({self.id}"
                                    f" {trouble}):\n{member.log_tail()}")
            if time.monotonic() > end:
                raise EnsembleError(f"member {self.id} {trouble} in {seconds} s; its log ends:\n"
                                    f"{self.log_tail()}")
            time.sleep(0.02)

    # --- its log ---

    def log_mark(self):
        """Where its log ends now: what comes later is `log_text(mark)`."""
        try:
            return os.path.getsize(self.log)
        except OSError:
            return 0

    def log_text(self, since=0):
        """Its log from a mark on, over all of its starts and kinds."""
        try:
            with open(self.log, "rb") as file:
                file.seek(since)
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def log_tail(self, lines=25):
        return "\n".join(self.log_text(max(0, self.log_mark() - 16384)).splitlines()[-lines:])

    def wait_log(self, pattern, since=0, seconds=PATIENCE_S):
        """Until a line behind the mark matches; gives the match."""
        wanted = re.compile(pattern, re.M)
        return self.wait(lambda: wanted.search(self.log_text(since)), seconds,
                         f"has not logged /{pattern}/")

    # --- its files ---

    def write_files(self):
        """zoo.cfg and myid, anew before each start; zoo.cfg stays once it names a dynamic file."""
        os.makedirs(self.data, exist_ok=True)
        write(os.path.join(self.data, "myid"), f"{self.id}\n")
        if os.path.exists(self.cfg):
            with open(self.cfg, errors="replace") as file:
                if "dynamicConfigFile=" in file.read():
                    return
        keys = {
            "dataDir": self.data, "clientPort": str(self.client_port),
            "clientPortAddress": self.host, **SETTINGS,
        }
        if self.observer:
            keys["peerType"] = "observer"
        keys.update(self.ensemble.server_lines(self.id))
        words = [*self.ensemble.settings, *self.spec.settings]
        keys.update(word.split("=", 1) for word in words if not word.startswith("-D"))
        write(self.cfg, "".join(f"{key}={value}\n" for key, value in keys.items()))

    def wipe(self):
        """Its data is gone, as after a disk was replaced; myid comes back at the next start."""
        if self.is_running():
            raise EnsembleError(f"member {self.id} runs; stop it first")
        shutil.rmtree(self.data, ignore_errors=True)


class Ensemble:
    """All members of one folder. As a context manager it stops and removes everything."""

    def __init__(self, folder, attached):
        """Not for callers: `Ensemble.create` or `Ensemble.open`."""
        self.folder = os.path.abspath(folder)
        self.attached = attached
        self.members, self.held = {}, []
        self.settings, self.binary, self.seen = [], "", {}
        # Where members are elsewhere than on loopback: `host(id)` says where, `prefix(id)` are the
        # words before a command that runs there. It is not remembered by `open`.
        self.network = None

    @classmethod
    def create(cls, folder, specs, settings=(), binary="", attached=False):
        """A new ensemble in a folder that is not there yet or empty. Nothing is started.

        `settings` are for all members, before their own. `binary` is the zkd ($ZKD_BIN otherwise).
        `attached`: the kernel kills the members when the *thread* that started them ends, so that
        a test that dies leaves nothing; otherwise they live until they are stopped.
        """
        ensemble = cls(folder, attached)
        if os.path.isdir(ensemble.folder) and os.listdir(ensemble.folder):
            raise EnsembleError(f"{ensemble.folder} is not empty")
        ids = [spec.id for spec in specs]
        if len(set(ids)) != len(ids) or not ids:
            raise EnsembleError(f"each member needs an id of its own: {ids}")
        os.makedirs(ensemble.folder, exist_ok=True)
        ensemble.settings, ensemble.binary = list(settings), binary
        for spec in specs:
            ensemble.add(spec)
        return ensemble

    @classmethod
    def open(cls, folder, attached=False):
        """One that was created before, whoever has started its members."""
        ensemble = cls(folder, attached)
        try:
            with open(os.path.join(ensemble.folder, NAME)) as file:
                said = json.load(file)
        except (OSError, ValueError) as error:
            raise EnsembleError(f"{ensemble.folder} holds no ensemble ({error})") from error
        if said.get("made_by") != MARK:
            raise EnsembleError(f"{ensemble.folder}/{NAME} was not made by {MARK}")
        ensemble.settings, ensemble.binary = said["settings"], said["binary"]
        ensemble.seen = {tuple(map(int, k.split())): tuple(v) for k, v in said["seen"].items()}
        for member in said["members"]:
            numbers = member.pop("ports")
            spec = Spec(**member)
            ensemble.members[spec.id] = Member(ensemble, spec, tuple(numbers))
        return ensemble

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.purge()

    def __getitem__(self, number):
        return self.members[number]

    def __iter__(self):
        """By id."""
        return iter(sorted(self.members.values(), key=lambda member: member.id))

    def add(self, spec):
        """One member more, not started. Those that run know of it after their next start."""
        own = [ports.Port() for _ in range(3)]
        self.held += own
        member = Member(self, spec, tuple(port.number for port in own))
        self.members[spec.id] = member
        os.makedirs(member.folder, exist_ok=True)
        self.save()
        return member

    def see(self, viewer, target, quorum_port, election_port):
        """Member `viewer` finds `target` at these ports (of a relay), from its next start on."""
        self.seen[viewer, target] = (quorum_port, election_port)
        self.save()

    def server_lines(self, viewer):
        """The `server.N` lines as one member's zoo.cfg has them."""
        lines = {}
        for member in self:
            own = (member.quorum_port, member.election_port)
            quorum, election = self.seen.get((viewer, member.id), own)
            role = ":observer" if member.observer else ""
            lines[f"server.{member.id}"] = f"{member.peer_host}:{quorum}:{election}{role}"
        return lines

    def save(self):
        members = [
            {**dataclasses.asdict(member.spec), "ports": list(member.ports)} for member in self
        ]
        seen = {f"{viewer} {target}": list(at) for (viewer, target), at in self.seen.items()}
        said = {
            "made_by": MARK, "binary": self.binary, "settings": self.settings, "seen": seen,
            "members": members,
        }
        write(os.path.join(self.folder, NAME), json.dumps(said, indent=2) + "\n")

    def holds(self):
        """What keeps the ports ours; every server inherits them, so that they last as long."""
        return [port.hold.fileno() for port in self.held]

    def binary_path(self):
        path = self.binary or os.environ.get("ZKD_BIN") or ""
        if not os.access(path, os.X_OK):
            raise EnsembleError(f"no zkd at '{path}': name one by --binary FILE or $ZKD_BIN")
        return os.path.abspath(path)

    # --- all at once ---

    def chosen(self, ids):
        unknown = [number for number in ids or [] if number not in self.members]
        if unknown:
            raise EnsembleError(f"no such member: {unknown}; there are {sorted(self.members)}")
        return [member for member in self if not ids or member.id in ids]

    def start(self, ids=None, wait=True, seconds=PATIENCE_S):
        """Starts these (all) together; `wait`: until each of them serves."""
        members = self.chosen(ids)
        for version in sorted({m.version for m in members if m.kind == "apache"}):
            answer = subprocess.run([APACHE, "fetch", version], capture_output=True, text=True)
            if answer.returncode != 0:
                raise EnsembleError(answer.stderr.strip())
        for member in members:
            member.start()
        for member in members if wait else []:
            member.wait_serving(seconds, members)

    def stop(self, ids=None, kill=False):
        """Ends these (all), those that do not lead first."""
        members = self.chosen(ids)
        if kill:
            for member in members:
                member.send(signal.SIGKILL)
        for member in sorted(members, key=lambda member: member.mode() == "leader"):
            member.kill() if kill else member.stop()

    def purge(self):
        """Ends all of them and removes the folder."""
        self.stop(kill=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        for port in self.held:
            port.end()
        self.held = []

    # --- questions ---

    def leader(self):
        """Who says that it leads; None where nobody does."""
        return next((member for member in self if member.mode() == "leader"), None)

    def followers(self):
        return [member for member in self if member.mode() == "follower"]

    def wait_leader(self, seconds=PATIENCE_S, other_than=None):
        """Until somebody leads (who is not that one); gives it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            leader = self.leader()
            if leader and leader is not other_than:
                return leader
            time.sleep(0.05)
        raise EnsembleError(f"nobody leads after {seconds} s:\n{self.table()}")

    def addresses(self, ids=None):
        """What a client takes: HOST:PORT,HOST:PORT…"""
        return ",".join(member.address for member in self.chosen(ids))

    def table(self):
        """One line a member, and a head."""
        rows = [("id", "server", "pid", "client", "role", "epoch", "zxid")]
        for member in self:
            pid, mode = member.pid(), None
            state = "stopped" if pid is None else "paused" if member.is_paused() else None
            if state is None:
                mode = member.mode()
                state = mode or "not serving"
            zxid = member.zxid() if mode else None
            epoch = member.epoch()
            rows.append((
                str(member.id), f"{member.kind} {member.version}".strip(), str(pid or "-"),
                member.address, state, "-" if epoch is None else str(epoch),
                "-" if zxid is None else f"0x{zxid:x}",
            ))
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        pad = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in rows
        ]
        return "\n".join(pad)


def process_state(pid):
    """The letter of /proc/PID/stat: R, S, T for stopped, Z for ended and not yet waited for."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def write(path, text):
    """By rename, so that whoever reads it never sees half of it."""
    with open(path + ".new", "w") as out:
        out.write(text)
    os.rename(path + ".new", path)
