"""Ports for the servers of tests, the same way as tests/rig/ports.rs: from below the range that
outgoing connections take theirs from, each held by a name in the abstract namespace of unix
sockets. It is there for everybody who asks on this machine, and goes with its holders."""

import os
import socket

PREFERRED = range(20000, 32000)
asked = 0


class Port:
    """Nobody else's while this lives, or a child that inherits `hold`."""

    def __init__(self):
        global asked
        ports = choice()
        for _ in ports:
            self.number = ports[(os.getpid() * 61 + asked) % len(ports)]
            asked += 1  # in turn: a port that was just given back rests
            self.hold = held(self.number)
            if self.hold:
                return
        raise RuntimeError(f"the ports {ports} are all in use")

    def end(self):
        self.hold.close()


def held(number):
    hold = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        hold.bind(f"\0zkd-test-port-{number}")
    except OSError:
        hold.close()
        return None
    # Somebody who asks nobody may have it all the same. It is looked up, not tried: a process that
    # another thread starts just then would keep a socket of ours open until it runs.
    if in_use(number):
        hold.close()
        return None
    return hold


def in_use(number):
    for table in "/proc/net/tcp", "/proc/net/tcp6":
        try:
            with open(table) as file:
                if any(line.split()[1].endswith(f":{number:04X}") for line in file):
                    return True
        except OSError:
            pass  # without this family
    return False


def choice():
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            low, high = map(int, file.read().split())
    except (OSError, ValueError):
        return PREFERRED
    if low >= 22000:
        return range(20000, min(low, 32000))
    return range(high + 1, 65536) if high <= 63000 else PREFERRED
