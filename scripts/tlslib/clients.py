"""Clients that nobody here wrote, over TLS: each says what went wrong, or nothing."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile

from . import stores

CACHE = os.environ.get("ZKD_CACHE") or os.path.expanduser("~/.cache/zkd-tests")
JAVA = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-Dorg.apache.logging.log4j.level=OFF"]
KAZOO = "kazoo==2.11.0"
OPTIONS = {"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}


def s_client(port, made, version, certificate):
    """The four-letter word `srvr`."""
    command = ["openssl", "s_client", "-quiet", OPTIONS[version], "-connect", f"127.0.0.1:{port}",
               "-CAfile", f"{made}/ca.pem", "-verify_return_error", "-verify_ip", "127.0.0.1"]
    command += ["-cert", f"{made}/{certificate}.pem"] if certificate else []
    answer = subprocess.run(command, input=b"srvr", capture_output=True, timeout=30)
    return None if b"Mode: standalone" in answer.stdout else answer.stderr[-300:]


def kazoo_client():
    """kazoo's class, from where scripts/interop keeps it; fetched where it is not there yet."""
    folder = os.path.join(CACHE, KAZOO.replace("==", "-"))
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock-kazoo"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(folder):
            half = tempfile.mkdtemp(dir=CACHE)
            try:
                pip = ["/usr/bin/python3", "-m", "pip", "install", "-q", "--target", half]
                stores.run(*pip, KAZOO)
                os.rename(half, folder)
            finally:
                shutil.rmtree(half, ignore_errors=True)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from kazoo.client import KazooClient

    return KazooClient


def kazoo(port, made, certificate):
    """A node is created and read."""
    client = kazoo_client()

    files = {}
    if certificate:
        files = dict.fromkeys(("certfile", "keyfile"), f"{made}/{certificate}.pem")
    one = client(hosts=f"127.0.0.1:{port}", use_ssl=True, ca=f"{made}/ca.pem", **files)
    try:
        one.start(20)
        path = one.create("/kazoo-", b"data", sequence=True)
        return None if one.get(path)[0] == b"data" else "other data"
    except Exception as error:
        return repr(error)
    finally:
        one.stop()
        one.close()


def java(apache, version, work, made, cases):
    """One JVM of this version of ZooKeeper visits all; gives what it says of each case."""
    path = stores.run(apache, "classpath", version).decode().strip()
    classes = os.path.join(work, f"java-{version}")
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    source = os.path.join(root, "tests", "interop", "tls", "Matrix.java")
    stores.run("javac", "-nowarn", "-d", classes, "-cp", path, source)
    command = ["java", *JAVA, "-cp", f"{classes}:{path}", "Matrix", f"{made}/trust.jks",
               f"{made}/client.jks", stores.PASSWORD, *cases]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=240)
    said = dict(line.split(" ", 1) for line in answer.stdout.splitlines() if " " in line)
    return {case: said.get(case, answer.stderr[-300:]) for case in cases}
