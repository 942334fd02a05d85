"""Curator's own idea of where the servers are, which it has from /zookeeper/config."""

import glob
import os
import shutil
import subprocess
import tempfile
import threading
import time

from patience import Deadline

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("ZKD_CACHE") or os.path.expanduser("~/.cache/zkd-tests")
LIGHT = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


class Tracker:
    """A Curator client that begins with these addresses and says where it goes from then on."""

    def __init__(self, addresses):
        self.folder = tempfile.mkdtemp(prefix="curator-")
        jars = glob.glob(os.path.join(CACHE, "jars-3.9.5", "*.jar"))
        path = ":".join([*sorted(jars), self.folder])
        source = os.path.join(HERE, "Tracked.java")
        answer = subprocess.run(
            ["javac", "-nowarn", "-d", self.folder, "-cp", path, source],
            capture_output=True, text=True,
        )
        if answer.returncode:
            raise AssertionError(f"javac: {answer.stderr}")
        self.child = subprocess.Popen(
            ["java", *LIGHT, "-cp", path, "Tracked", addresses], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        self.said = []
        threading.Thread(target=self.listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def listen(self):
        for row in self.child.stdout:
            self.said.append(set(row.strip().split(",")))

    def await_addresses(self, wanted):
        end = Deadline(30)
        while wanted not in self.said[-1:]:
            if end.is_over() or self.child.poll() is not None:
                raise AssertionError(f"Curator goes to {self.said}, not to {wanted}")
            time.sleep(0.05)
