"""Rows of failures: leaders killed, a follower far behind, a crowd that comes back."""

import json
import os
import re
import statistics
import subprocess
import sys
import time

from .quorum import addresses, start, three, warm_up
from .servers import SLOW_TURN_US, zkbench
from .steadiness import bare, snapshots

import ensemble  # noqa: E402  (scripts/lib is on the path by .servers)

RATE = 500
# Writes before and after a kill.
BEFORE_S, AFTER_S = 1, 4
# Sets on the leader while a follower takes an image.
SNAP_RATE = 1000


class Writers:
    """`zkbench failover` beside whatever happens to its servers."""

    def __init__(self, args, where, seconds, options=""):
        line = f"failover --server {where} --seconds {seconds} --reuse --json {options}"
        self.child = subprocess.Popen(
            [args.zkbench, *line.split()], stdout=subprocess.PIPE, text=True)
        if self.child.stdout.readline().strip() != "ready":
            sys.exit(f"bench-ensemble: zkbench {line} did not begin")

    def told(self):
        text = self.child.stdout.read()
        if self.child.wait() != 0:
            sys.exit("bench-ensemble: zkbench failover failed")
        return json.loads(text)


def one_kill(args, made, where):
    """Nanoseconds from the kill to the answer of a write that was sent after it."""
    writers = Writers(args, addresses(made, where), BEFORE_S + AFTER_S, f"--rate {RATE}")
    time.sleep(BEFORE_S)
    leader = made.leader()
    killed = time.monotonic_ns()
    leader.kill()
    told = writers.told()
    after = [answered for sent, answered in told["writes"] if sent > killed]
    if not after:
        sys.exit(f"bench-ensemble: no write in {AFTER_S} s after the leader was killed")
    return leader, min(after) - killed


def spread(times):
    ms = sorted(time / 1e6 for time in times)
    return {"median_ms": statistics.median(ms), "least_ms": ms[0], "most_ms": ms[-1], "ms": ms}


def kill_and_return(args, made, where):
    times = []
    for _ in range(args.kills):
        leader, took = one_kill(args, made, where)
        times.append(took)
        leader.start(wait=True)
    return spread(times)


def kills(args, folder):
    found = {}
    for kind in ("zkd", "apache"):
        with three(args, folder, kind) as made:
            warm_up(args, made)
            found[kind] = {where: kill_and_return(args, made, where)
                           for where in ("survivors", "all")}
    rows = []
    for where, wanted in (("survivors", 120), ("all", None)):
        ours, theirs = found["zkd"][where], found["apache"][where]
        name = f"kill -9 of the leader, sessions on {'the survivors' if wanted else 'all three'}"
        rows.append({
            "row": name, "kills": args.kills, "zkd": ours, "apache": theirs, "wanted_ms": wanted,
        })
        print(f"{name}: {ours['median_ms']:.0f} ms (Apache {theirs['median_ms']:.0f})", flush=True)
    return rows


def mixed_kills(args, folder):
    """A leader of zkd over two of Apache's, which the highest id makes it once all are equal."""
    found = {}
    for kind in ("zkd", "apache"):
        third = ensemble.zkd(3) if kind == "zkd" else ensemble.apache(3, args.apache)
        specs = [ensemble.apache(1, args.apache), ensemble.apache(2, args.apache), third]
        times = []
        with start(args, os.path.join(folder, kind), specs) as made:
            for _ in range(args.kills):
                if made.leader().id != 3:
                    made.stop()
                    made.start()
                    made.wait_leader()
                if made.leader().id != 3:
                    sys.exit("bench-ensemble: member 3 does not lead")
                leader, took = one_kill(args, made, "survivors")
                times.append(took)
                leader.start(wait=True)
        found[kind] = spread(times)
    name = "kill -9 of a leader over two of Apache's"
    ours, theirs = found["zkd"]["median_ms"], found["apache"]["median_ms"]
    print(f"{name}: {ours:.0f} ms (Apache {theirs:.0f})", flush=True)
    return [{"row": name, "kills": args.kills, **found, "wanted_ms": 1.1 * theirs}]


def behind(args, folder):
    """A follower without anything comes back while the leader is written to."""
    found = {}
    for kind in ("zkd", "apache"):
        with three(args, folder, kind) as made:
            line = "load --op create --sessions 50 --depth 20 --keys 1 --keep --warmup 0"
            line += f" --root /many --count {args.nodes} --seconds 600"
            zkbench(args, f"{line} --server {addresses(made, 'leader')}")
            follower = made.followers()[0]
            follower.stop()
            follower.wipe()
            where = addresses(made, "leader")
            load = f"load --op set --sessions 10 --rate {SNAP_RATE} --server {where} --reuse"
            child = subprocess.Popen(
                [args.zkbench, *load.split(), "--seconds", str(args.wait / 3), "--json"],
                stdout=subprocess.PIPE, text=True)
            time.sleep(2)
            began = time.monotonic()
            follower.start(wait=True, seconds=300)
            took = time.monotonic() - began
            text, _ = child.communicate()
            latency = json.loads(text)["targets"][0]["latency_us"]
            image = max(os.path.getsize(path) for path in snapshots(follower.data))
        found[kind] = {"seconds": took, "latency_us": latency, "image_bytes": image,
                       "spread": latency["p99.9"] / latency["p50"]}
    ours, theirs = found["zkd"], found["apache"]
    # The same disk has the leader's log and the follower's image: what the two do to each other.
    seconds = args.wait / 3
    floor = bare(args, folder, ours["image_bytes"], seconds, SNAP_RATE, seconds)
    floor_spread = floor["p99.9"] / floor["p50"]
    name = f"a follower {args.nodes:,} nodes behind comes back by an image"
    print(f"{name}: {ours['seconds']:.2f} s (Apache {theirs['seconds']:.2f}), p99.9 over p50 of "
          f"sets meanwhile {ours['spread']:.1f} (the bare disk's {floor_spread:.1f})", flush=True)
    return [{"row": name, "nodes": args.nodes, **found, "floor_latency_us": floor,
             "disk_spread": floor_spread, "ratio": theirs["seconds"] / ours["seconds"],
             "wanted_ratio": 5, "wanted_spread": 10}]


def longest_turn_us(member, mark):
    told = re.findall(r"A turn took (\d+) us of CPU", member.log_text(mark))
    return max(map(int, told), default=SLOW_TURN_US)


def crowd(args, folder):
    """Idle sessions that all lose their server when the leader falls."""
    found = {}
    for kind in ("zkd", "apache"):
        with three(args, folder, kind) as made:
            options = f"--sessions {args.sessions} --rate 0 --redial 50"
            writers = Writers(args, addresses(made, "all"), args.wait, options)
            marks = {member.id: member.log_mark() for member in made}
            killed = time.monotonic_ns()
            made.leader().kill()
            told = writers.told()
            if told["absent"]:
                sys.exit(f"bench-ensemble: {told['absent']} sessions are not back")
            back = max(back for _, back in told["away"])
            leader = made.wait_leader()
            found[kind] = {
                "seconds": (back - killed) / 1e9, "came_back": len(told["away"]),
                "longest_turn_us": longest_turn_us(leader, marks[leader.id]),
            }
    ours, theirs = found["zkd"], found["apache"]
    name = f"{args.sessions:,} sessions come back after an election"
    print(f"{name}: {ours['seconds']:.2f} s (Apache {theirs['seconds']:.2f}), the leader's "
          f"longest turn {ours['longest_turn_us']} us of CPU", flush=True)
    return [{"row": name, "sessions": args.sessions, **found,
             "ratio": ours["seconds"] / theirs["seconds"], "wanted_ratio_most": 0.3}]
