"""Whether a client nobody here wrote sees what zkbench sees: ZooKeeper's own load_gen, in C.

It costs its machine far more than zkbench does, so the server must be what both wait for: Apache
that has at most one request under way, on a processor that is not the clients'."""

import os
import re
import statistics
import subprocess
import sys
import time

from .servers import await_serving, start_apache, zkbench

LOAD_GEN = "/usr/lib/zookeeper/bin/load_gen"
NODES = 5000
MARK = re.compile(r"(\d+):(\d+):(\d+),(\d+)[^\n]*(children for|write cycle|read cycle|delete cycle)")


def by_load_gen(server, folder):
    """Sets a second: it creates, sets, reads and deletes its nodes again and again until it is
    ended, and logs when it begins what."""
    path = os.path.join(folder, "load_gen.log")
    with open(path, "wb") as log:
        child = subprocess.Popen(
            [LOAD_GEN, server.address, "/load_gen", str(NODES)], stdout=log, stderr=log,
            preexec_fn=lambda: os.sched_setaffinity(0, {0}))
    rates, deadline = [], time.monotonic() + 120
    while not rates and child.poll() is None and time.monotonic() < deadline:
        time.sleep(1)
        rates = write_rates(path)
    child.terminate()
    child.wait()
    if not rates:
        sys.exit("bench-vs-apache: load_gen told of no cycle of writes")
    clean = [LOAD_GEN, server.address, "/load_gen", "clean"]
    subprocess.run(clean, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    return rates[0]


def write_rates(path):
    with open(path, errors="replace") as log:
        marks = MARK.findall(log.read())
    times = [(int(h) * 3600 + int(m) * 60 + int(s) + int(ms) / 1000, what)
             for h, m, s, ms, what in marks]
    spans = [(after - at) % 86_400
             for (at, what), (after, _) in zip(times, times[1:]) if what == "write cycle"]
    return [NODES / span for span in spans]


def by_zkbench(args, server, bound):
    line = f"load --pin 0 --op set --sessions 1 --depth 1000 --keys {NODES} --bytes 6 --warmup 0"
    told = zkbench(args, f"{line} --server {server.address} {bound}")
    return told["targets"][0]["per_second"]


def look_for_load_gen():
    if not os.path.exists(LOAD_GEN):
        sys.exit("bench-vs-apache: load_gen is not there: install Debian's zookeeper-bin")


def agreement(args, folder):
    where = os.path.join(folder, "apache-agreement")
    server = start_apache(args.apache, where, "-Dzookeeper.globalOutstandingLimit=1")
    try:
        await_serving(server)
        server.pin({os.cpu_count() - 1})
        by_zkbench(args, server, f"--seconds {args.warmup}")
        bound = f"--count {NODES} --seconds 60"
        pairs = [(by_load_gen(server, where), by_zkbench(args, server, bound))
                 for _ in range(args.pairs)]
        for theirs, ours in pairs:
            print(f"load_gen {theirs:.0f}, zkbench {ours:.0f}", flush=True)
    finally:
        server.end()
    theirs, ours = (statistics.median(column) for column in zip(*pairs))
    row = {
        "row": "sets a second that one session has of Apache, one at a time",
        "load_gen_per_second": theirs, "zkbench_per_second": ours,
        "ratio": statistics.median(ours / theirs for theirs, ours in pairs), "wanted": 1.15,
    }
    print(f"{row['row']}: {ours:.0f} (load_gen: {theirs:.0f})", flush=True)
    return [row]
