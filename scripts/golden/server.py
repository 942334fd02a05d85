"""The server a scenario talks to: a fresh Apache, a fresh zkd, or one that runs already."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "scripts", "lib"))

import ports  # noqa: E402

PATIENCE_S = 60
APACHE = os.path.join(ROOT, "scripts", "apache")


def is_serving(port):
    """A word, as Apache is asked: a connection that says nothing would count as dropped."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as link:
            link.sendall(b"srvr")
            answer = b""
            while chunk := link.recv(4096):
                answer += chunk
        return b"Mode: " in answer
    except OSError:
        return False


class Apache:
    """A standalone Apache in a folder of its own, started and ended as often as asked."""

    name = "apache"

    def __init__(self, settings, version="3.9.5", folder=None):
        self.settings, self.version = settings, version
        self.folder = folder or tempfile.mkdtemp(prefix="golden-")
        self.start()

    def start(self):
        command = [APACHE, "start", self.version, "--dir", self.folder, *self.settings]
        answer = subprocess.run(command, capture_output=True, text=True)
        if answer.returncode != 0:
            raise RuntimeError(answer.stderr)
        self.port = int(answer.stdout.split()[0])

    def stop(self):
        subprocess.run([APACHE, "stop", "--dir", self.folder], check=True)

    def kill(self):
        subprocess.run([APACHE, "stop", "--kill", "--dir", self.folder], check=True)

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Zkd:
    """The binary under test, with the same settings as zoo.cfg lines and -D properties."""

    name = "zkd"

    def __init__(self, settings, binary, folder=None):
        self.settings, self.binary = settings, binary
        self.folder = folder or tempfile.mkdtemp(prefix="golden-")
        self.start()

    def start(self):
        self.held = ports.Port()
        self.port = self.held.number
        keys = {
            "dataDir": self.folder, "clientPort": str(self.port), "tickTime": "2000",
            "clientPortAddress": "127.0.0.1", "maxClientCnxns": "0",
            "4lw.commands.whitelist": "*", "admin.enableServer": "false",
        }
        flags = [word for word in self.settings if word.startswith("-D")]
        keys.update(word.split("=", 1) for word in self.settings if not word.startswith("-D"))
        cfg = os.path.join(self.folder, "zoo.cfg")
        with open(cfg, "w") as out:
            out.write("".join(f"{key}={value}\n" for key, value in keys.items()))
        log = open(os.path.join(self.folder, "server.log"), "ab")
        self.child = subprocess.Popen(
            [self.binary, *flags, cfg], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        log.close()
        end = time.monotonic() + PATIENCE_S
        while not is_serving(self.port):
            if self.child.poll() is not None or time.monotonic() > end:
                with open(log.name, errors="replace") as text:
                    raise RuntimeError("zkd does not serve\n" + text.read()[-2000:])
            time.sleep(0.02)

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self):
        self.child.kill()
        self.child.wait()

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Running:
    """A server at HOST:PORT that somebody else started; its files are not looked at."""

    name = "running"

    def __init__(self, settings, address):
        self.settings, self.folder = settings, None
        self.port = int(address.rsplit(":", 1)[1])

    def stop(self):
        time.sleep(0)

    def remove(self):
        self.stop()
