"""kazoo's recipes under contention: what they promise is counted, and printed in a fixed form."""

import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.recipe.cache import TreeCache

address = sys.argv[1]
WORKERS = 6


def client():
    zk = KazooClient(hosts=address, timeout=20)
    zk.start(timeout=60)
    return zk


def together(work, count=WORKERS):
    """Runs `work(zk, n)` in `count` threads, each with a session of its own."""
    trouble = []

    def one(n):
        zk = client()
        try:
            work(zk, n)
        except Exception as error:
            trouble.append(repr(error))
        finally:
            zk.stop()
            zk.close()

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    print("trouble", sorted(trouble), "still running", sum(t.is_alive() for t in threads))


class Gauge:
    """How many were inside at once."""

    def __init__(self):
        self.lock, self.inside, self.most, self.entries = threading.Lock(), 0, 0, 0

    def __enter__(self):
        with self.lock:
            self.inside += 1
            self.entries += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_):
        with self.lock:
            self.inside -= 1


def locks():
    gauge = Gauge()

    def work(zk, n):
        for _ in range(5):
            with zk.Lock("/lock", str(n)), gauge:
                time.sleep(0.002)

    together(work)
    print("lock: entries", gauge.entries, "most at once", gauge.most)


def read_write():
    readers, writers = Gauge(), Gauge()
    overlap = []

    def work(zk, n):
        for _ in range(4):
            if n % 3 == 0:
                with zk.WriteLock("/rw", str(n)), writers:
                    overlap.append(readers.inside)
            else:
                with zk.ReadLock("/rw", str(n)), readers:
                    overlap.append(writers.inside)

    together(work)
    print("read-write: writers at once", writers.most, "overlap", sum(overlap),
          "entries", readers.entries + writers.entries)


def semaphore():
    gauge = Gauge()

    def work(zk, n):
        for _ in range(4):
            with zk.Semaphore("/semaphore", str(n), max_leases=2), gauge:
                time.sleep(0.005)

    together(work)
    print("semaphore: entries", gauge.entries, "at most two", gauge.most <= 2)


def election():
    gauge = Gauge()

    def work(zk, n):
        def lead():
            with gauge:
                time.sleep(0.005)

        zk.Election("/election", str(n)).run(lead)

    together(work)
    print("election: leaders", gauge.entries, "at once", gauge.most)


def counter():
    def work(zk, n):
        count = zk.Counter("/counter")
        for _ in range(10):
            count += 1

    together(work)
    zk = client()
    print("counter:", zk.Counter("/counter").value)
    zk.stop()


def barriers():
    zk = client()
    barrier = zk.Barrier("/barrier")
    barrier.create()
    passed = []

    def work(zk, n):
        passed.append(zk.Barrier("/barrier").wait(60))

    threading.Timer(0.3, barrier.remove).start()
    together(work)
    print("barrier: passed", passed.count(True))
    entered = []

    def double(zk, n):
        both = zk.DoubleBarrier("/double", WORKERS, str(n))
        both.enter()
        entered.append(n)
        both.leave()

    together(double)
    print("double barrier:", sorted(entered))
    zk.stop()


def queues():
    zk = client()
    queue = zk.Queue("/queue")
    for n in range(20):
        queue.put(b"%d" % n)
    got, lock = [], threading.Lock()

    def work(zk, n):
        mine = zk.Queue("/queue")
        while (value := mine.get()) is not None:
            with lock:
                got.append(int(value))

    together(work)
    print("queue:", sorted(got) == list(range(20)), len(got))
    locking = zk.LockingQueue("/locking")
    locking.put_all([b"a", b"b", b"c"])
    taken = []
    while len(taken) < 3:
        taken.append(locking.get(timeout=60))
        locking.consume()
    print("locking queue:", taken, len(locking))
    zk.stop()


def party():
    zk, other = client(), client()
    zk.Party("/party", "one").join()
    other.ShallowParty("/shallow", "two").join()
    other.Party("/party", "two").join()
    print("party:", sorted(zk.Party("/party")), len(zk.ShallowParty("/shallow")))
    other.stop()
    while len(zk.Party("/party")) > 1:
        time.sleep(0.05)
    print("party:", sorted(zk.Party("/party")))
    zk.stop()


def watchers():
    zk, other = client(), client()
    seen, changed = [], threading.Condition()

    def note(line):
        with changed:
            seen.append(line)
            changed.notify_all()

    def step(action, count):
        action()
        with changed:
            if not changed.wait_for(lambda: len(seen) >= count, 60):
                print("missing", count, seen)

    zk.ensure_path("/watched")
    zk.DataWatch("/watched/data", lambda data, stat: note(f"data {data}"))
    zk.ChildrenWatch("/watched", lambda names: note(f"children {sorted(names)}"))
    step(lambda: None, 2)
    step(lambda: other.create("/watched/data", b"1"), 4)
    step(lambda: other.set("/watched/data", b"2"), 5)
    step(lambda: other.delete("/watched/data"), 7)
    print("first", seen[:2], "created", sorted(seen[2:4]), "set", seen[4], sorted(seen[5:7]))
    zk.stop()
    other.stop()


def cache():
    zk, other = client(), client()
    other.create("/tree/a/b", b"x", makepath=True)
    ready = threading.Event()
    tree = TreeCache(zk, "/tree")
    tree.listen(lambda event: ready.set() if event.event_type == event.INITIALIZED else None)
    tree.start()
    print("tree ready", ready.wait(60), tree.get_data("/tree/a/b").data)
    other.set("/tree/a/b", b"y")
    other.create("/tree/c")
    other.delete("/tree/a/b")
    end = time.monotonic() + 60
    while time.monotonic() < end and (tree.get_data("/tree/a/b") or not tree.get_data("/tree/c")):
        time.sleep(0.02)
    print("tree then", sorted(tree.get_children("/tree")), tree.get_data("/tree/a/b"))
    tree.close()
    zk.stop()
    other.stop()


for recipe in (locks, read_write, semaphore, election, counter, barriers, queues, party, watchers,
               cache):
    recipe()
