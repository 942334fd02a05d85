"""RssAnon of every member, and how fast it grows.

Each life of a member's process is a series of its own. Of a life counts what lies behind its first
`settle_s` seconds and behind the first third of the soak; it is judged where that is at least
`least_s` long. The slope is the median of the slopes between all pairs of medians of a minute
(Theil and Sen), so that neither a moment nor a rare step decides it; it is told in per cent of the
series' median an hour.
"""

import statistics
import threading
import time

EVERY_S = 5
MOST_PER_CENT = 1.0


class Sampler(threading.Thread):
    """Asks the kernel every few seconds, until it is ended."""

    def __init__(self, members):
        super().__init__(daemon=True)
        self.members, self.began = list(members), time.monotonic()
        self.lives = {}  # (member, pid): [(seconds since the start, KiB)]
        self.ending = threading.Event()

    def run(self):
        while not self.ending.wait(EVERY_S):
            for member in self.members:
                pid = member.pid()
                kib = anonymous_kib(pid) if pid else None
                if kib is not None:
                    at = time.monotonic() - self.began
                    self.lives.setdefault((member.id, pid), []).append((at, kib))

    def end(self):
        self.ending.set()
        self.join()

    def judged(self, whole_s, settle_s, least_s):
        """One line for each life that is long enough."""
        lines = []
        for (number, _), series in sorted(self.lives.items()):
            begin = max(series[0][0] + settle_s, whole_s / 3)
            counted = [(at, kib) for at, kib in series if at >= begin]
            if not counted or counted[-1][0] - counted[0][0] < least_s:
                continue
            slope, median = growth(counted)
            lines.append({
                "member": number,
                "minutes": round((counted[-1][0] - counted[0][0]) / 60),
                "rss_anon_kib": round(median),
                "per_cent_an_hour": round(slope, 2),
                "each_minute_kib": [round(kib) for _, kib in by_minute(counted)],
            })
        return lines

    def spans(self):
        """Least and most of each member, of all its lives."""
        found = {}
        for (number, _), series in self.lives.items():
            values = [kib for _, kib in series]
            low, high = found.get(number, (values[0], values[0]))
            found[number] = (min(low, *values), max(high, *values))
        return {number: f"{low}-{high} KiB" for number, (low, high) in sorted(found.items())}


def anonymous_kib(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            line = next((line for line in file if line.startswith("RssAnon:")), None)
    except OSError:
        return None  # it has just ended
    return int(line.split()[1]) if line else None


def by_minute(series):
    """The median of each."""
    minutes = {}
    for at, kib in series:
        minutes.setdefault(int(at // 60), []).append(kib)
    return [(minute, statistics.median(values)) for minute, values in minutes.items()]


def growth(series):
    """Per cent of the median an hour, and the median."""
    points = by_minute(series)
    slopes = [
        (later - earlier) / (end - begin)
        for n, (begin, earlier) in enumerate(points) for end, later in points[n + 1:]
    ]
    median = statistics.median(kib for _, kib in series)
    return (statistics.median(slopes) if slopes else 0) * 60 / median * 100, median
