"""Rows of a server at rest: its memory, and how soon it serves."""

import os
import time

from .servers import again, await_serving, get_root, first_answer, start_apache, start_zkd, zkbench


def fill(args, server):
    line = "load --op create --sessions 50 --depth 20 --keys 1 --keep --warmup 0 --root /many"
    zkbench(args, f"{line} --server {server.address} --count {args.nodes} --seconds 600")


def memory(args, server):
    """What sessions, watches and nodes take of a server that was just started and is empty: each
    has one of its own, since memory that another has left free would not show a second time."""
    found = {"start": server.memory()}
    held = {
        "session_each": f"--sessions {args.sessions}",
        "watch_each": f"--sessions 100 --watches {args.watches}",
    }
    for name, options in held.items():
        line = f"hold --server {server.address} --server-pid {server.pid} --seconds 1 {options}"
        found[name] = zkbench(args, line)["bytes_each"]
        again(server, on_empty=True)
        await_serving(server)
    fill(args, server)
    found["nodes"] = server.memory()
    return found


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def restart(server, found):
    """The same data again, all of it in the page cache by then."""
    began = again(server)
    found["restart_seconds"] = first_answer(server, began, get_root)
    found["restart_cpu_seconds"] = cpu_seconds(server.pid)


def create_one(link):
    # An earlier try may have made its own without an answer.
    link.create(f"/first-{time.monotonic_ns()}", b"x")


def first_create(server, found):
    """From the start of the process on an empty directory to an acknowledged create."""
    began = again(server, on_empty=True)
    found["first_create_seconds"] = first_answer(server, began, create_one)
    time.sleep(2)
    found["idle_bytes"] = server.memory()


def rests(args, folder):
    """One server after the other, each on a folder of its own."""
    row = {"row": "at rest", "nodes": args.nodes, "sessions": args.sessions,
           "watches": args.watches}
    for name in ("zkd", "apache"):
        where = os.path.join(folder, f"{name}-rests")
        server = start_zkd(args.zkd, where) if name == "zkd" else start_apache(args.apache, where)
        try:
            found = memory(args, await_serving(server))
            restart(server, found)
            first_create(server, found)
        finally:
            server.end()
        print(f"{name} at rest: {found}", flush=True)
        row[name] = found
    return [row]
