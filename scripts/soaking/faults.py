"""What happens to the members, one thing after the other, drawn by the seed.

Everything is healed before the next: all serve again, every writer has gone on, everybody who
watches has heard the bell. Two members are not restarted once the first sixth is over, so that
their memory can be followed for the rest of the time.
"""

import os
import signal
import subprocess
import time

from ensemble import EnsembleError

SMALL_BYTES = 3 << 30  # sparse: an hour's log and images
DISK_FULL = 20
# Some of it longer than syncLimit, some shorter.
AWAY_S = (0.5, 12.0)
BRIEFLY_S = (0.5, 5.0)


class SmallDisk:
    """A file system in a file, on which one member keeps its data."""

    def __init__(self, member):
        self.member = member
        self.image = os.path.join(member.folder, "disk")
        self.filler = os.path.join(member.data, "filler")
        os.makedirs(member.data, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(SMALL_BYTES)
        tool("mkfs.ext4", "-q", "-F", "-m", "0", self.image)
        tool("mount", "-o", "loop", self.image, member.data)

    def fill(self):
        """Takes what is left of it."""
        with open(self.filler, "wb") as file:
            size, piece = 0, 1 << 30
            while piece >= 4096:
                try:
                    os.posix_fallocate(file.fileno(), size, piece)
                    size += piece
                except OSError:
                    piece //= 2

    def make_room(self):
        if os.path.exists(self.filler):
            os.remove(self.filler)

    def end(self):
        tool("umount", self.member.data)


def tool(*words):
    answer = subprocess.run(words, capture_output=True, text=True)
    if answer.returncode != 0:
        raise EnsembleError(f"{' '.join(words)}: {answer.stderr.strip()}")


class Faults:
    """`calm` are the ids of those who are let live after the first sixth; `away_s` is between what
    somebody is paused or cut off for; `flood` writes more than a log has room for."""

    def __init__(self, members, network, disk, random, calm, away_s, flood):
        self.members, self.network, self.disk = members, network, disk
        self.random, self.calm, self.flood = random, set(calm), flood
        self.is_calm_time, self.away_s = False, away_s
        self.counts = {}
        # Each as often as its number says.
        self.kinds = {
            self.kill: 3, self.kill_leader: 2, self.pause: 3, self.pause_leader: 2,
            self.cut_one: 3, self.cut_leader: 2, self.cut_two: 2, self.cut_half: 3,
            self.cut_all: 1, self.fill_disk: 2,
        }

    def next(self):
        """One fault, from its beginning to its end; gives its name."""
        kind = self.random.choices(list(self.kinds), list(self.kinds.values()))[0]
        return self.do(kind)

    def each(self):
        """All of them in a drawn order, for those who have no time for chance."""
        kinds = list(self.kinds)
        self.random.shuffle(kinds)
        return kinds

    def do(self, kind):
        name = kind.__name__.replace("_", " ")
        self.counts[name] = self.counts.get(name, 0) + 1
        kind()
        return name

    # --- who ---

    def any(self):
        return self.random.choice(list(self.members))

    def leader(self):
        return self.members.wait_leader()

    def may_end(self, member):
        return not (self.is_calm_time and member.id in self.calm)

    def victim(self, wanted=None):
        """One that may be ended: this one if it may."""
        if wanted is not None and self.may_end(wanted):
            return wanted
        return self.random.choice([member for member in self.members if self.may_end(member)])

    def away(self):
        time.sleep(self.random.uniform(*self.away_s))

    # --- what ---

    def kill(self, wanted=None):
        victim = self.victim(wanted)
        victim.kill()
        time.sleep(self.random.uniform(0, self.away_s[1] / 2))
        victim.start()

    def kill_leader(self):
        self.kill(self.leader())

    def pause(self, wanted=None):
        paused = wanted or self.any()
        paused.pause()
        try:
            self.away()
        finally:
            paused.resume()

    def pause_leader(self):
        self.pause(self.leader())

    def cut(self, these):
        others = [member.id for member in self.members if member.id not in these]
        self.network.part(these, others)
        self.away()
        self.network.heal()

    def cut_one(self):
        self.cut([self.any().id])

    def cut_leader(self):
        self.cut([self.leader().id])

    def cut_two(self):
        self.cut([member.id for member in self.random.sample(list(self.members), 2)])

    def cut_half(self):
        """What one sends to some of the others is lost, or what they send to it."""
        one, *others = [member.id for member in self.random.sample(list(self.members), 3)]
        others = others if self.random.random() < 0.5 else [
            member.id for member in self.members if member.id != one]
        is_mute = self.random.random() < 0.5
        self.network.cut_ways((one, n) if is_mute else (n, one) for n in others)
        self.away()
        self.network.heal()

    def cut_all(self):
        ids = [member.id for member in self.members]
        self.network.part(ids, ids)
        self.away()
        self.network.heal()

    def fill_disk(self):
        """The member ends with the status for it, and is started again once there is room."""
        member = self.disk.member
        self.disk.fill()
        end = time.monotonic() + 60
        while member.is_running():
            if time.monotonic() > end:
                raise AssertionError(f"member {member.id} lives on without room on its disk")
            # What is allocated already is used up first.
            self.flood()
        status = member.exit_status()
        if status != DISK_FULL:
            raise AssertionError(f"member {member.id} ended with {status}, not {DISK_FULL}:\n"
                                 f"{member.log_tail()}")
        self.disk.make_room()
        member.start()

    def mend(self):
        """Whatever was being done when it went wrong."""
        for member in self.members:
            member.send(signal.SIGCONT)
        self.disk.make_room()
        self.network.heal()
