"""A relay before a leader's quorum port that stops at a byte: a sync is caught in its middle."""

import socket
import threading

import ports

PIECE = 65536


class Relay:
    """Passes bytes between one learner and a port of 127.0.0.1.

    With `hold_at(count)` the first connection on which the leader has sent so many bytes stands
    still behind them, both ways open, until `release()`. Nobody else is concerned.
    """

    def __init__(self, target):
        self.target = target
        self.own = ports.Port()
        self.port = self.own.number
        self.limit = None
        self.held, self.released = threading.Event(), threading.Event()
        self.sockets, self.ended, self.is_cut = [], False, False
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def hold_at(self, count):
        self.limit = count
        self.held.clear()
        self.released.clear()

    def release(self):
        self.limit = None
        self.released.set()

    def cut(self):
        """What is held goes nowhere, not even what its sender's kernel has left."""
        self.is_cut = True
        for one in self.sockets:
            shut(one)
        self.release()

    def end(self):
        self.ended = True
        self.release()
        # Who waits in accept is woken by nothing but this.
        for one in [self.listener, *self.sockets]:
            shut(one)
        self.listener.close()
        self.own.end()

    def accept(self):
        while not self.ended:
            try:
                learner, _ = self.listener.accept()
            except OSError:
                return
            leader = socket.socket()
            # What the leader has sent and the learner has not got shall be little.
            leader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
            try:
                leader.connect(("127.0.0.1", self.target))
            except OSError:
                learner.close()
                continue
            self.sockets += [learner, leader]
            for one in learner, leader:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.is_cut = False
            for ends in (learner, leader, False), (leader, learner, True):
                threading.Thread(target=self.pour, args=ends, daemon=True).start()

    def pour(self, source, sink, is_leader):
        passed = 0
        try:
            while data := source.recv(PIECE):
                limit = self.limit
                if is_leader and limit is not None and passed + len(data) >= limit:
                    head = limit - passed
                    sink.sendall(data[:head])
                    self.limit = None
                    self.held.set()
                    self.released.wait()
                    if self.is_cut:
                        return
                    passed, data = passed + head, data[head:]
                sink.sendall(data)
                passed += len(data)
        except OSError:
            return  # somebody was killed, which is what this is for
        finally:
            shut(source)
            shut(sink)


def shut(one):
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is shut already
