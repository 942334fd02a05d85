"""Members in network namespaces of their own, joined on a bridge: what tests/process/networks does.

The script itself goes to the hub, where the bridge is, and into a mount namespace that nobody else
has: file systems and wires go with it. Every namespace is told the hardware address of each other;
a way is cut by telling it a wrong one, so that what is sent is lost and nobody hears of it.
"""

import ctypes
import os
import re
import signal
import subprocess

FOLDER = "/run/netns"
PREFIX = "zkd-"
HUB = 254
NOWHERE = "02:00:00:00:de:ad"
NEW_NET, NEW_MOUNTS = 0x40000000, 0x00020000
NEEDS = "members of a soak need root, iproute2 and util-linux"


class NetworkError(Exception):
    """Networks cannot be had, in a sentence."""


class Network:
    """For so many members, with ids from 1 on. Use it with `with`."""

    def __init__(self, members):
        self.ids = range(1, members + 1)
        self.name = f"{PREFIX}{os.getpid()}-s"

    def __enter__(self):
        remove_leftovers()
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            self.build()
            call("unshare", NEW_MOUNTS)
            run("mount", "--make-rprivate", "/")
            hub = os.open(f"{FOLDER}/{self.name}", os.O_RDONLY)
            call("setns", hub, NEW_NET)
            os.close(hub)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        call("setns", self.home, NEW_NET)
        os.close(self.home)
        for name in [self.name_of(member) for member in self.ids] + [self.name]:
            remove(name)

    def build(self):
        run("ip", "netns", "add", self.name)
        hub = ["link set lo up", f"link add br0 address {hardware(HUB)} type bridge",
               f"addr add {address(HUB)}/24 dev br0"]
        for member in self.ids:
            run("ip", "netns", "add", self.name_of(member))
            hub += [
                f"link add m{member} type veth peer name eth0 address {hardware(member)} "
                f"netns {self.name_of(member)}",
                f"link set m{member} master br0 up",
            ]
        batch(self.name, [*hub, "link set br0 up"])
        for member in self.ids:
            lines = ["link set lo up", f"addr add {address(member)}/24 dev eth0",
                     "link set eth0 up"]
            batch(self.name_of(member), lines)
        self.heal()

    def name_of(self, place):
        return self.name if place == HUB else f"{self.name}-{place}"

    # --- what an ensemble asks ---

    def host(self, member):
        return address(member)

    def prefix(self, member):
        return ["nsenter", f"--net={FOLDER}/{self.name_of(member)}"]

    # --- what happens to the wires ---

    def cut_ways(self, ways):
        """What the first of each pair sends to the second is lost; the other direction is as it
        was."""
        lines = {}
        for sender, receiver in ways:
            lines.setdefault(sender, []).append(neighbour(sender, receiver, NOWHERE))
        for sender, cuts in lines.items():
            batch(self.name_of(sender), cuts)

    def part(self, these, those):
        """Each of these from each of those, both ways."""
        pairs = {(one, other) for one in these for other in those if one != other}
        self.cut_ways(sorted(pairs | {(other, one) for one, other in pairs}))

    def heal(self):
        places = [*self.ids, HUB]
        for sender in places:
            batch(self.name_of(sender), [
                neighbour(sender, receiver, hardware(receiver))
                for receiver in places if receiver != sender
            ])


def address(place):
    return f"10.77.0.{place}"


def hardware(place):
    return f"02:00:00:00:00:{place:02x}"


def neighbour(sender, receiver, found):
    device = "br0" if sender == HUB else "eth0"
    return f"neigh replace {address(receiver)} lladdr {found} dev {device} nud permanent"


def call(name, *numbers):
    """A call of libc's that Python does not have."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*numbers) != 0:
        raise NetworkError(f"{NEEDS}; {name}: {os.strerror(ctypes.get_errno())}")


def run(*words, text=None):
    answer = subprocess.run(words, input=text, capture_output=True, text=True)
    if answer.returncode != 0:
        raise NetworkError(f"{NEEDS}; {' '.join(words)}: {answer.stderr.strip()}")


def batch(namespace, lines):
    run("ip", "-n", namespace, "-batch", "-", text="\n".join(lines) + "\n")


def remove_leftovers():
    """What one that was killed has left behind."""
    names = os.listdir(FOLDER) if os.path.isdir(FOLDER) else []
    for name in names:
        found = re.match(PREFIX + r"(\d+)-", name)
        if found and has_ended(found[1]):
            remove(name)


def has_ended(pid):
    """Whether a process is gone, waited for or not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(") ", 1)[1].startswith("Z")
    except OSError:
        return True


def remove(name):
    """Ends what runs there; it may be gone already."""
    answer = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True)
    for pid in answer.stdout.split():
        if int(pid) != os.getpid():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
