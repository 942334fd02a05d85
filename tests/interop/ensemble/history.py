"""Writers that remember what was acknowledged, and what that means for the tree in the end.

Each writer has one kazoo session for all of its life. It counts a key upward with expected
versions, makes sequential nodes with a token each, and reads its key back. A write whose answer
was lost may have happened or not, once; everything else is a finding, kept in `findings`.
"""

import logging
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError, ConnectionLoss, KazooException, NoNodeError, SessionExpiredError,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState

from patience import Deadline, seconds

TIMEOUT_S = seconds(40)
PAUSE_S = 0.03
LOST = (ConnectionLoss, KazooTimeoutError)

logging.getLogger("kazoo").setLevel(logging.CRITICAL)


def client(hosts):
    """A session that looks for another server at once."""
    return KazooClient(
        hosts=hosts, timeout=TIMEOUT_S,
        connection_retry={"max_tries": -1, "delay": 0.05, "backoff": 1, "max_delay": 0.2},
    )


class Writer(threading.Thread):
    """One session that writes until it is stopped."""

    def __init__(self, hosts, name):
        super().__init__(daemon=True, name=name)
        self.zk = client(hosts)
        self.key, self.alive = f"/history/{name}", f"/history/{name}-lives"
        self.number, self.version = 0, 0  # of the key, as acknowledged last
        self.tokens, self.perhaps = {}, set()
        self.made = 0
        self.acknowledged, self.lost, self.reads = 0, 0, 0
        self.findings, self.ending = [], threading.Event()
        self.is_lost = False

    def begin(self):
        """Its own nodes are there, and its session, when this returns."""
        self.zk.add_listener(self.on_state)
        self.zk.start(timeout=seconds(30))
        self.session = self.zk.client_id[0]
        self.zk.ensure_path("/history/tokens")
        self.zk.create(self.key, b"0")
        self.zk.create(self.alive, b"", ephemeral=True)
        self.start()

    def on_state(self, state):
        if state == KazooState.LOST and not self.ending.is_set():
            self.is_lost = True

    def run(self):
        while not self.ending.is_set() and not self.findings:
            try:
                self.count()
                self.append()
                self.read()
            except SessionExpiredError:
                self.findings.append("its session has expired")
            except KazooException as trouble:
                self.findings.append(f"unexpected: {trouble!r}")
            if self.is_lost:
                self.findings.append("its session was lost")
            self.ending.wait(PAUSE_S)

    def count(self):
        value = self.number + 1
        try:
            stat = self.zk.set(self.key, b"%d" % value, version=self.version)
        except LOST:
            self.lost += 1
            return self.resolve(value)
        except BadVersionError:
            return self.findings.append(f"version {self.version} of {self.key} is not the last")
        if stat.version != self.version + 1:
            self.findings.append(f"{self.key}: version {stat.version} follows {self.version}")
        self.number, self.version = value, stat.version
        self.acknowledged += 1

    def resolve(self, value):
        """Whether the write that nobody answered has happened: what was proposed comes before the
        answer to sync."""
        found = self.persist(lambda: self.zk.sync(self.key) and self.zk.get(self.key))
        if found is None:
            return
        data, stat = found
        if (int(data), stat.version) == (value, self.version + 1):
            self.number, self.version = value, stat.version
        elif (int(data), stat.version) != (self.number, self.version):
            self.findings.append(
                f"{self.key} is {data} in version {stat.version}, where {self.number} in version "
                f"{self.version} was acknowledged last and {value} not answered"
            )

    def persist(self, ask):
        """Until there is an answer, or all is over."""
        while not self.ending.is_set():
            try:
                return ask()
            except LOST:
                self.ending.wait(0.05)
        return None

    def append(self):
        self.made += 1
        token = f"{self.name}:{self.made}"
        try:
            path = self.zk.create("/history/tokens/n-", token.encode(), sequence=True)
        except LOST:
            self.lost += 1
            self.perhaps.add(token)
            return
        if self.tokens and path <= max(self.tokens.values()):
            self.findings.append(f"{path} comes after {max(self.tokens.values())}")
        self.tokens[token] = path
        self.acknowledged += 1

    def read(self):
        """A session sees what it was told, wherever it is by now."""
        try:
            data, stat = self.zk.get(self.key)
        except LOST:
            return
        except NoNodeError:
            return self.findings.append(f"{self.key} is gone")
        self.reads += 1
        if (int(data), stat.version) != (self.number, self.version):
            self.findings.append(
                f"{self.key} reads {data} in version {stat.version}, not {self.number} in version "
                f"{self.version}"
            )

    def halt(self):
        """No more writes; the session stays, and its ephemeral with it."""
        self.ending.set()
        self.join(seconds(30))
        if self.is_alive():
            self.findings.append("it did not come to an end")

    def close(self):
        self.halt()
        try:
            self.zk.stop()
            self.zk.close()
        except KazooException:
            return  # its servers are gone before it


class History:
    """Several writers and what they demand of a tree."""

    def __init__(self):
        self.writers = []

    def begin(self, hosts, count=2):
        for _ in range(count):
            writer = Writer(hosts, f"w{len(self.writers) + 1}")
            self.writers.append(writer)
            writer.begin()

    def acknowledged(self):
        return sum(writer.acknowledged for writer in self.writers)

    def progress(self, more=20, writers=None):
        """Until each writer has so many acknowledgements more."""
        end = Deadline(40)
        wanted = {writer: writer.acknowledged + more for writer in writers or self.writers}
        while any(writer.acknowledged < count for writer, count in wanted.items()):
            self.sound()
            if end.is_over():
                counts = [writer.acknowledged for writer in self.writers]
                raise AssertionError(f"the writers come no further in {end.seconds} s: {counts}")
            time.sleep(0.02)

    def sound(self):
        for writer in self.writers:
            if writer.findings:
                raise AssertionError(f"writer {writer.name}: {'; '.join(writer.findings)}")

    def halt(self):
        for writer in self.writers:
            writer.halt()
        self.sound()

    def close(self):
        for writer in self.writers:
            writer.close()

    def check(self, tree):
        """Everything acknowledged is in this tree, once, in order; nothing that nobody wrote."""
        found = {}
        for path, node in tree.items():
            if path.startswith("/history/tokens/"):
                found.setdefault(node[0].decode(), []).append(path)
        double = {token: paths for token, paths in found.items() if len(paths) > 1}
        if double:
            raise AssertionError(f"written once and there twice: {some(double)}")
        known = set()
        for writer in self.writers:
            writer_check(writer, tree, found)
            known |= writer.tokens.keys() | writer.perhaps
        strange = found.keys() - known
        if strange:
            raise AssertionError(f"nobody wrote {some(strange)}")
        return len(found)


def writer_check(writer, tree, found):
    gone = {t: path for t, path in writer.tokens.items() if found.get(t) != [path]}
    if gone:
        raise AssertionError(f"acknowledged and gone or elsewhere: {some(gone)}")
    if writer.key not in tree:
        raise AssertionError(f"{writer.key} is gone")
    data, stat, _ = tree[writer.key]
    at_most = 1 if writer.lost else 0
    ahead = int(data) - writer.number
    if not 0 <= ahead <= at_most or stat[4] - writer.version != ahead:
        raise AssertionError(
            f"{writer.key} is {data} in version {stat[4]}, where {writer.number} in version "
            f"{writer.version} was acknowledged"
        )
    if writer.alive not in tree or tree[writer.alive][1][7] != writer.session:
        raise AssertionError(f"the ephemeral of {writer.name}'s session is gone")


def some(many):
    chosen = sorted(many.items() if isinstance(many, dict) else many)[:5]
    return f"{len(many)}: {chosen}"
