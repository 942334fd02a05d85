"""The two servers that are measured, and the tool that measures them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts"))
sys.path.insert(0, os.path.join(ROOT, "scripts", "lib"))

import ports  # noqa: E402
from exchanging.link import Link  # noqa: E402
from golden.jute import Writer  # noqa: E402

JIT = "-Xmx2g -Xms2g -XX:-UseSerialGC -XX:+UseG1GC -XX:TieredStopAtLevel=4"
FIRST_ANSWER_S = 120
FIRST_PATIENCE_S = 0.25
# zkd's turns above this are in its log.
SLOW_TURN_US = 1000


class Server:
    """A process that serves a port; ended by its id."""

    def __init__(self, name, port, pid, child, folder, hold=None):
        self.name, self.port, self.pid, self.child = name, port, pid, child
        self.folder, self.hold = folder, hold
        self.address = f"127.0.0.1:{port}"

    def pin(self, cpus):
        for task in os.listdir(f"/proc/{self.pid}/task"):
            os.sched_setaffinity(int(task), cpus)

    def memory(self):
        """Anonymous resident bytes."""
        with open(f"/proc/{self.pid}/status") as status:
            line = next(line for line in status if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        if self.child:
            self.child.wait(timeout=60)
        deadline = time.monotonic() + 60
        while not self.child and time.monotonic() < deadline and lives(self.pid):
            time.sleep(0.01)


def lives(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def start_zkd(binary, folder, lines=""):
    """zkd on a folder, which may be an earlier one's. It may not serve yet: `await_serving`."""
    os.makedirs(folder, exist_ok=True)
    port = ports.Port()
    cfg = os.path.join(folder, "zoo.cfg")
    with open(cfg, "w") as out:
        out.write(
            f"dataDir={folder}\nclientPort={port.number}\nclientPortAddress=127.0.0.1\n"
            "tickTime=2000\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n"
            f"admin.enableServer=false\n{lines}"
        )
    env = dict(os.environ, ZKD_SLOW_TURN_US=str(SLOW_TURN_US))
    with open(os.path.join(folder, "server.log"), "wb") as log:
        child = subprocess.Popen(
            [binary, cfg], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    return Server("zkd", port.number, child.pid, child, folder, port)


def start_apache(version, folder, flags=""):
    env = dict(os.environ, JAVA_FLAGS=f"{JIT} {flags}")
    command = [sys.executable, os.path.join(ROOT, "scripts", "apache"), "start", version]
    command += ["--dir", folder]
    answer = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        sys.exit("bench-vs-apache: Apache did not start")
    port, pid = answer.stdout.split()
    return Server("apache", int(port), int(pid), None, folder)


def again(server, on_empty=False):
    """The same command on the same folder, once more, or on an empty one; when it began."""
    with open(f"/proc/{server.pid}/cmdline", "rb") as words:
        command = [word.decode() for word in words.read().split(b"\0")[:-1]]
    server.end()
    if on_empty:
        shutil.rmtree(os.path.join(server.folder, "version-2"))
    env = dict(os.environ, ZKD_SLOW_TURN_US=str(SLOW_TURN_US))
    with open(os.path.join(server.folder, "again.log"), "wb") as log:
        began = time.monotonic()
        server.child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
    server.pid = server.child.pid
    return began


def first_answer(server, began, ask):
    """Seconds until a session of the server has its first answer; it is asked without a rest.
    Apache never answers some of those who come while it starts: nobody waits long for one."""
    while time.monotonic() - began < FIRST_ANSWER_S and lives(server.pid):
        try:
            link = Link(server.port, patience=FIRST_PATIENCE_S)
            ask(link)
            took = time.monotonic() - began
            link.end()
            return took
        except (ConnectionError, TimeoutError, AssertionError):
            time.sleep(0.001)
    sys.exit(f"bench-vs-apache: {server.name} does not serve; see {server.folder}/server.log")


def log_size(server):
    """Of the log since `again`."""
    return os.path.getsize(os.path.join(server.folder, "again.log"))


def longest_turn_us(server, log_from):
    """Of CPU, in the log from there on; at least what is told at all."""
    with open(os.path.join(server.folder, "again.log"), errors="replace") as log:
        log.seek(log_from)
        told = re.findall(r"A turn took (\d+) us of CPU", log.read())
    return max(map(int, told), default=SLOW_TURN_US)


def get_root(link):
    link.call("getData", Writer().buf("/").bool(False))


def await_serving(server):
    first_answer(server, time.monotonic(), get_root)
    return server


def zkbench(args, line, *more):
    command = [args.zkbench, *line.split(), *more, "--json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if answer.returncode != 0:
        sys.exit(f"bench-vs-apache: {' '.join(command)} failed")
    return json.loads(answer.stdout)
