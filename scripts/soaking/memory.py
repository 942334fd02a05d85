"""RssAnon of every member, and how fast it grows.

Each life of a member's process is a series of its own. Of a life counts what lies behind its first
`settle_s` seconds and behind the first third of the soak; it is judged where that is at least
`least_s` long. The slope is the median of the slopes between all pairs of medians of a minute
(Theil and Sen), so that neither a moment nor a rare step decides it; it is told in per cent of the
series' median an hour. A member that takes a leader's image has its whole tree anew, in other
places: pairs of minutes on either side of one are not compared. That images do not add up is seen
by the least of the minutes behind the last of them against the least of those before the first.
"""

import bisect
import datetime
import re
import statistics
import threading
import time

EVERY_S = 5
MOST_PER_CENT = 1.0
MOST_PER_CENT_OF_IMAGES = 5.0
IMAGE = re.compile(r"^(\S+ \S+),\d+ .* Getting a snapshot from leader", re.M)


class Sampler(threading.Thread):
    """Asks the kernel every few seconds, until it is ended."""

    def __init__(self, members):
        super().__init__(daemon=True)
        self.members, self.began = list(members), time.monotonic()
        self.by_id = {member.id: member for member in self.members}
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
            lines.append({"member": number, **judge(counted, self.images(number, begin))})
        return lines

    def images(self, number, begin):
        """When the member took one, by its log, from then on."""
        said = IMAGE.findall(self.by_id[number].log_text())
        ago = [time.time() - datetime.datetime.fromisoformat(word).timestamp() for word in said]
        now = time.monotonic() - self.began
        return sorted(now - seconds for seconds in ago if now - seconds >= begin)

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


def judge(series, images=()):
    """What is told of a life, given when it took an image."""
    slope, median = growth(series, images)
    return {
        "minutes": round((series[-1][0] - series[0][0]) / 60),
        "rss_anon_kib": round(median),
        "per_cent_an_hour": round(slope, 2),
        "images_at_minutes": [round(at / 60, 1) for at in images],
        "per_cent_by_images": round(by_images(series, images), 2),
        "each_minute_kib": [round(kib) for _, kib in by_minute(series)],
    }


def grows(line):
    """Whether a life that was judged has grown by more than it may."""
    by_minutes, by_images = line["per_cent_an_hour"], line["per_cent_by_images"]
    return by_minutes > MOST_PER_CENT or by_images > MOST_PER_CENT_OF_IMAGES


def stretches(series, images):
    """The minutes between images, none of which one is in."""
    found = [[] for _ in range(len(images) + 1)]
    broken = {int(at // 60) for at in images}
    for minute, kib in by_minute(series):
        if minute not in broken:
            found[bisect.bisect(images, minute * 60)].append((minute, kib))
    return [points for points in found if points]


def growth(series, images):
    """Per cent of the median an hour, and the median."""
    slopes = [
        (later - earlier) / (end - begin)
        for points in stretches(series, images)
        for n, (begin, earlier) in enumerate(points) for end, later in points[n + 1:]
    ]
    median = statistics.median(kib for _, kib in series)
    return (statistics.median(slopes) if slopes else 0) * 60 / median * 100, median


def by_images(series, images):
    """Per cent from before the first to behind the last."""
    found = stretches(series, images)
    least = [min(kib for _, kib in points) for points in found]
    return (least[-1] / least[0] - 1) * 100 if len(least) > 1 else 0.0
