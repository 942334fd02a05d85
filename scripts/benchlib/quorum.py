"""Rows of load over three members: zkd's ensemble and Apache's in turn, and what there is below."""

import os
import resource
import statistics
import sys

from .loads import short
from .servers import JIT, SLOW_TURN_US, zkbench

import ensemble  # noqa: E402  (scripts/lib is on the path by .servers)

# name, options, on whom the sessions are (leader, follower, all); what is wanted: figure of the
# ratios (zkd over Apache) or of zkd's CPU where Apache takes the next number: at most, or at least
ONE = "--sessions 1 --depth 1"
MANY = "--sessions 51 --depth 20"
ROWS = [
    ("set, 1 x 1, session on the leader", f"--op set {ONE}", "leader", {"p50": (0.55, "most")}),
    ("set, 1 x 1, session on a follower", f"--op set {ONE}", "follower", {"p50": (0.6, "most")}),
    ("set, 1 x 1, a session anywhere", f"--op set {ONE}", "all", {"cpu": (0.25, "most")}),
    ("set, 50 x 20", f"--op set {MANY}", "all",
     {"per_second": (4, "least"), "p99": (0.15, "most"), "cpu": (0.8 / 5.6, "most")}),
    ("80 % reads, 50 x 20", f"--op get=80,set=20 {MANY}", "all",
     {"per_second": (5, "least"), "cpu": (0.4 / 4.0, "most")}),
    ("get, 50 x 20", f"--op get {MANY}", "all", {"cpu": (0.12 / 1.86, "most")}),
]


def start(args, folder, specs, settings=()):
    """An ensemble of these, its Apaches with their full JIT."""
    os.environ["JAVA_FLAGS"] = JIT.replace("2g", "1500m")
    os.environ["ZKD_SLOW_TURN_US"] = str(SLOW_TURN_US)
    made = ensemble.Ensemble.create(
        folder, specs, settings=settings, binary=args.zkd, attached=True)
    made.start()
    made.wait_leader()
    return made


def three(args, folder, kind, settings=()):
    numbers = (1, 2, 3)
    specs = [ensemble.zkd(n) if kind == "zkd" else ensemble.apache(n, args.apache)
             for n in numbers]
    return start(args, os.path.join(folder, kind), specs, settings)


def addresses(made, where):
    """Those of the members that sessions go to."""
    leader = made.leader()
    if leader is None:
        sys.exit("bench-ensemble: nobody leads")
    if where == "leader":
        return leader.address
    others = [member for member in made if member.id != leader.id]
    if where == "follower":
        return others[0].address
    if where == "survivors":
        return ",".join(member.address for member in others)
    return ",".join(member.address for member in made)


def pids(made):
    return ",".join(str(member.pid()) for member in made)


def warm_up(args, made):
    mixes = ("get", "set", "get=50,set=30,exists=10,create=5,delete=5")
    for op in mixes:
        line = f"load --server {addresses(made, 'all')} --op {op} --sessions 51 --warmup 0"
        zkbench(args, f"{line} --seconds {args.warmup / len(mixes)}")


def judged(told, wants):
    """Each figure that is wanted: what was found and what it may be."""
    ours, theirs = told["targets"]
    found = {}
    for name, (limit, kind) in wants.items():
        if name == "cpu":
            ratio = ours["server_cpu_per_100k"] / theirs["server_cpu_per_100k"]
        else:
            ratio = told["ratios"][name]["median"]
        found[name] = {"ratio": ratio, "wanted": limit, "kind": kind}
    return found


def children_cpu():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def floor(args, folder):
    """What a set of one session through a follower cannot go below: its trip and the follower's to
    the leader, each as long as a bare echo's, and one append and sync; and the CPU of three."""
    trips, syncs, cpu = [], [], []
    for _ in range(args.pairs):
        line = f"floor --sessions 1 --depth 1 --count {args.singles} --seconds {args.seconds}"
        told = zkbench(args, f"{line} --syncs {args.singles}", "--dir", folder)
        trips.append(told["echo"]["latency_us"]["p50"])
        syncs.append(told["sync"]["latency_us"]["p50"])
        before = children_cpu()
        line = f"floor --count 1 --warmup 0 --seconds {args.seconds} --syncs {args.singles}"
        told = zkbench(args, line, "--dir", folder)
        cpu.append((children_cpu() - before) / told["sync"]["operations"] * 100_000)
    trip, sync, one = (statistics.median(found) for found in (trips, syncs, cpu))
    name = "set, 1 x 1, the floor: two trips of a bare echo and one append and fdatasync"
    print(f"{name}: {2 * trip + sync:.0f} us; the CPU of three bare syncs "
          f"{3 * one:.1f} s for each 100,000", flush=True)
    return {"row": name, "trip_us": trip, "sync_us": sync, "floor_set_us": 2 * trip + sync,
            "three_syncs_cpu_per_100k": 3 * one}


def loads(args, folder):
    rows = []
    with three(args, folder, "zkd") as ours, three(args, folder, "apache") as theirs:
        for made in (ours, theirs):
            warm_up(args, made)
        rows.append(floor(args, folder))
        for name, options, where, wants in ROWS:
            count = args.count if MANY in options else args.singles
            line = f"load {options} --server {addresses(ours, where)} --server-pid {pids(ours)}"
            line += f" --against {addresses(theirs, where)} --against-pid {pids(theirs)}"
            line += f" --pairs {args.pairs} --count {count} --seconds {args.seconds} --warmup 2"
            told = zkbench(args, line)
            row = {
                "row": name, "members": 3, "zkd": short(told["targets"][0]),
                "apache": short(told["targets"][1]), "figures": judged(told, wants),
            }
            rows.append(row)
            said = ", ".join(f"{figure} {found['ratio']:.3f} times Apache's"
                             for figure, found in row["figures"].items())
            print(f"{name}: {said}", flush=True)
    return rows
