"""Rows of load: zkd and Apache in turn, zkd over the bare floor, notifications."""

import os
import statistics

from .servers import zkbench

CLOSED = [
    # name, options of zkbench load, wanted CPU seconds for each 100,000 where Apache takes the
    # next number, wanted rate over Apache's
    ("get, 50 sessions x 20 deep", "--op get --sessions 50 --depth 20", (0.10, 1.23), 4),
    ("set, 50 x 20", "--op set --sessions 50 --depth 20", (0.20, 1.27), 3),
    ("80 % reads, 50 x 20", "--op get=80,set=20 --sessions 50 --depth 20", (0.15, 1.29), None),
    ("get, 50 x 1", "--op get --sessions 50 --depth 1", (0.45, 1.65), None),
]
# For those that only read, and so wait for system calls alone: sessions, depth, and what a bare
# echo of the same bytes costs its server where the wanted CPU was set.
ECHOES = {"get, 50 sessions x 20 deep": (50, 20, 0.03), "get, 50 x 1": (50, 1, 0.34)}


def short(told):
    """What a row keeps of one target."""
    latency = told["latency_us"]
    keep = {name: latency[name] for name in ("p50", "p99", "p99.9", "p99.99", "max")}
    names = ("operations", "seconds", "per_second", "server_cpu_per_100k", "server_cpu_seconds")
    kept = {name: told[name] for name in names + ("client_cpu_seconds", "machine_cpu_seconds")}
    return {**kept, "latency_us": keep}


def echo(args, zkd, sessions, depth):
    """The echo and zkd in turn: CPU of both, since a machine does not cost the same all the time."""
    bound = f"--sessions {sessions} --depth {depth} --count {args.count} --seconds {args.seconds}"
    found = {"echo": [], "zkd": []}
    for _ in range(args.pairs):
        found["echo"].append(zkbench(args, f"floor {bound} --syncs 1")["echo"])
        line = f"load {bound} --op get --server {zkd.address} --server-pid {zkd.pid}"
        found["zkd"].append(zkbench(args, line)["targets"][0])
    cpu = {name: statistics.mean(one["server_cpu_per_100k"] for one in all)
           for name, all in found.items()}
    return {
        "server_cpu_per_100k": cpu["echo"],
        "zkd_cpu_per_100k": cpu["zkd"],
        "ratio": cpu["zkd"] / max(cpu["echo"], 1e-9),
        "per_second": statistics.median(one["per_second"] for one in found["echo"]),
    }


def closed(args, zkd, apache):
    rows = []
    for name, options, (cpu, cpu_of_apache), rate in CLOSED:
        line = f"load {options} --server {zkd.address} --against {apache.address}"
        line += f" --server-pid {zkd.pid} --against-pid {apache.pid} --pairs {args.pairs}"
        line += f" --count {args.count} --seconds {args.seconds} --warmup 2"
        told = zkbench(args, line)
        ours, theirs = told["targets"]
        ratio = told["ratios"]["per_second"]
        row = {
            "row": name, "zkd": short(ours), "apache": short(theirs), "ratios": told["ratios"],
            "wanted_cpu": cpu * theirs["server_cpu_per_100k"] / cpu_of_apache,
            "wanted_rate": rate,
        }
        if name in ECHOES:
            sessions, depth, there = ECHOES[name]
            row["echo"] = echo(args, zkd, sessions, depth)
            row["wanted_over_echo"] = cpu / there
        rows.append(row)
        print(
            f"{name}: CPU {ours['server_cpu_per_100k']:.3f} (Apache "
            f"{theirs['server_cpu_per_100k']:.3f}), {ratio['median']:.2f} times its rate",
            flush=True,
        )
    return rows


def pinned(args, zkd, folder):
    """One session, one request at a time, over the floor pinned likewise; pair by pair."""
    if os.cpu_count() < 2:
        return []
    zkd.pin({1})
    rows = []
    count = min(args.count, 200_000)
    for op, limit in (("get", 1.10), ("set", 1.15)):
        pairs = []
        for _ in range(args.pairs):
            line = f"floor --pin 0 --echo-pin 1 --sessions 1 --depth 1 --count {count}"
            floor = zkbench(args, f"{line} --seconds {args.seconds}", "--dir", folder)
            line = f"load --pin 0 --op {op} --sessions 1 --depth 1 --server {zkd.address}"
            ops = count if op == "get" else min(count, 20_000)
            told = zkbench(args, f"{line} --count {ops} --seconds {args.seconds}")
            base = floor["echo"]["latency_us"]["p50"]
            if op == "set":
                base += floor["sync"]["latency_us"]["p50"]
            pairs.append((told["targets"][0]["latency_us"]["p50"], base))
        ratio = statistics.median(ours / base for ours, base in pairs)
        ours, base = (statistics.median(column) for column in zip(*pairs))
        name = f"{op}, 1 x 1, pinned: p50 over the floor's"
        rows.append({
            "row": name, "zkd_us": ours, "floor_us": base, "ratio": ratio, "wanted": limit,
            "operations": ops,
        })
        print(f"{name}: {ratio:.2f} ({ours:.1f} over {base:.1f} us)", flush=True)
    zkd.pin(set(range(os.cpu_count())))
    return rows


def notifications(args, zkd, apache):
    rates = {"zkd": [], "apache": []}
    cpu = {"zkd": [], "apache": []}
    for server in (zkd, apache):
        # Warms up what no load before has used.
        zkbench(args, f"notify --server {server.address} --watchers 100 --nodes 2000")
    for _ in range(args.pairs):
        for server in (zkd, apache):
            line = f"notify --server {server.address} --server-pid {server.pid}"
            told = zkbench(args, f"{line} --watchers 100 --nodes 2000")
            rates[server.name].append(told["per_second"])
            cpu[server.name].append(told["server_cpu_per_100k"])
    ratio = statistics.median(a / b for a, b in zip(rates["zkd"], rates["apache"]))
    row = {"row": "200,000 notifications", "ratio": ratio, "wanted": 4}
    for name in rates:
        row[f"{name}_per_second"] = statistics.median(rates[name])
        row[f"{name}_cpu_per_100k"] = statistics.median(cpu[name])
    print(
        f"notifications: {row['zkd_per_second']:.0f}/s (Apache {row['apache_per_second']:.0f}/s), "
        f"{ratio:.2f} times",
        flush=True,
    )
    return [row]
