"""Rows of steadiness: how far a fixed rate of sets is from its median while the server has other
work: snapshots, rolls and purge of a large tree; new connections over TLS."""

import json
import os
import statistics
import subprocess
import sys
import threading
import time

from .rests import fill
from .servers import again, await_serving, log_size, longest_turn_us, start_zkd, zkbench

RATE = 5000
ROUNDS = 3
# A snapshot every few seconds: each covers all nodes.
LINES = "snapCount=40000\nautopurge.snapRetainCount=3\nautopurge.purgeInterval=1\n"


def spread(latency):
    return latency["p99.9"] / latency["p50"]


def sets(args, server, *more):
    line = f"load --op set --sessions 50 --rate {RATE} --server {server.address} --warmup 2"
    line += f" --seconds {args.steady} --server-pid {server.pid} --reuse"
    return zkbench(args, line, *more)["targets"][0]


def under_snapshots(args, folder):
    """Open loop, while 1,000,000 nodes are written to disk again and again; over a bare loop of
    append and fdatasync at the same rate, each sync for all that are due, while as many bytes are
    written beside it. A disk that stands still for a second then counts the same in both. The
    middle of three rounds: a machine that is taken away for some milliseconds must not decide."""
    where = os.path.join(folder, "zkd-steady")
    server = await_serving(start_zkd(args.zkd, where, LINES))
    try:
        fill(args, server)
        again(server)
        await_serving(server)
        rounds = [beside_snapshots(args, folder, where, server) for _ in range(ROUNDS)]
    finally:
        server.end()
    names = ("spread", "floor_spread")
    middle = {name: statistics.median(one[name] for one in rounds) for name in names}
    # The work itself is the same in every round.
    middle["longest_turn_us"] = min(one["longest_turn_us"] for one in rounds)
    row = {
        "row": "5,000 sets a second under snapshots", "nodes": args.nodes, **middle,
        "wanted": max(10, 2 * middle["floor_spread"]), "rounds": rounds,
    }
    print(
        f"{row['row']}: p99.9 over p50 {row['spread']:.1f} (the bare disk's "
        f"{row['floor_spread']:.1f}), {sum(one['snapshots'] for one in rounds)} snapshots, "
        f"longest turn {row['longest_turn_us']} us of CPU",
        flush=True,
    )
    return [row]


def beside_snapshots(args, folder, where, server):
    before, seen, stop = set(snapshots(where)), set(), threading.Event()
    purge = threading.Thread(target=purge_beside, args=(where, seen, stop))
    began, log = time.monotonic(), log_size(server)
    purge.start()
    try:
        told = sets(args, server)
    finally:
        stop.set()
        purge.join()
    taken = seen.union(snapshots(where)) - before
    bytes_each = max(os.path.getsize(path) for path in snapshots(where))
    period = (time.monotonic() - began) / max(len(taken), 1)
    floor = bare(args, folder, bytes_each, period, RATE, args.steady)
    return {
        "snapshots": len(taken), "missed": told.get("missed", 0),
        "latency_us": told["latency_us"], "spread": spread(told["latency_us"]),
        "floor_latency_us": floor, "floor_spread": spread(floor),
        "longest_turn_us": longest_turn_us(server, log),
    }


def snapshots(where):
    folder = os.path.join(where, "version-2")
    names = [name for name in os.listdir(folder) if name.startswith("snapshot.")]
    return [os.path.join(folder, name) for name in names]


def zxid(path):
    return int(path.rsplit(".", 1)[1], 16)


def purge_beside(where, seen, stop):
    """The server's own purge comes once an hour. Here it is done every few seconds, as the script
    that Apache has for it does: three snapshots stay, and the logs that they need."""
    while not stop.wait(5):
        found = sorted(snapshots(where), key=zxid)
        seen.update(found)
        oldest = zxid(found[-3:][0])
        folder = os.path.join(where, "version-2")
        logs = sorted((os.path.join(folder, name) for name in os.listdir(folder)
                       if name.startswith("log.")), key=zxid)
        gone = [log for log, after in zip(logs, logs[1:]) if zxid(after) <= oldest]
        for path in found[:-3] + gone:
            os.unlink(path)


def bare(args, folder, bytes_each, period, rate, seconds):
    """Latencies of appends and syncs while so many bytes are written beside them."""
    stop = threading.Event()
    writer = threading.Thread(target=write_beside, args=(folder, bytes_each, period, stop))
    writer.start()
    try:
        line = f"floor --count 1000 --warmup 0 --seconds {seconds} --syncs 10000000"
        line += f" --rate {rate}"
        return zkbench(args, line, "--dir", folder)["sync"]["latency_us"]
    finally:
        stop.set()
        writer.join()


def write_beside(folder, bytes_each, period, stop):
    """A file like a snapshot each period, synced as it grows."""
    path, piece = os.path.join(folder, "beside"), os.urandom(1 << 20)
    while not stop.is_set():
        began = time.monotonic()
        file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        for written in range(0, bytes_each, len(piece)):
            os.write(file, piece)
            if written % (8 << 20) == 0:
                os.fdatasync(file)
            if stop.is_set():
                break
        os.fdatasync(file)
        os.close(file)
        stop.wait(max(0, began + period - time.monotonic()))
    os.unlink(path)


def certified(where):
    """A certificate for this machine alone, and what a zoo.cfg says to serve with it."""
    os.makedirs(where)
    key, certificate = os.path.join(where, "key.pem"), os.path.join(where, "cert.pem")
    openssl = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    openssl += " -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    openssl += " -addext basicConstraints=critical,CA:FALSE"
    subprocess.run([*openssl.split(), "-keyout", key, "-out", certificate],
                   check=True, stderr=subprocess.DEVNULL)
    store = os.path.join(where, "store.pem")
    with open(store, "w") as out:
        for part in (key, certificate):
            with open(part) as text:
                out.write(text.read())
    lines = (f"client.portUnification=true\nssl.keyStore.location={store}\n"
             f"ssl.trustStore.location={certificate}\nssl.clientAuth=none\n")
    return certificate, lines


def under_handshakes(args, folder):
    """Plain sets beside 500 new TLS connections a second, over the same without."""
    where = os.path.join(folder, "zkd-tls")
    certificate, lines = certified(where)
    server = await_serving(start_zkd(args.zkd, where, lines))
    try:
        without = sets(args, server)["latency_us"]
        line = f"connects --server {server.address} --tls-ca {certificate} --rate 500 --json"
        seconds = args.steady + 6
        crowd = subprocess.Popen(
            [args.zkbench, *line.split(), "--seconds", str(seconds)], stdout=subprocess.PIPE,
        )
        time.sleep(2)
        beside = sets(args, server)["latency_us"]
        out, _ = crowd.communicate(timeout=seconds + 60)
        if crowd.returncode != 0:
            sys.exit("bench-vs-apache: zkbench connects failed")
        crowd_told = json.loads(out)["targets"][0]
    finally:
        server.end()
    row = {
        "row": "sets beside 500 TLS connections a second", "latency_us": beside,
        "without_latency_us": without, "ratio": beside["p99"] / without["p99"], "wanted": 5,
        "connections_per_second": crowd_told["per_second"],
        "connections_missed": crowd_told["missed"],
    }
    print(
        f"{row['row']}: {row['ratio']:.2f} times the p99 without, beside "
        f"{row['connections_per_second']:.0f} connections a second",
        flush=True,
    )
    return [row]
