"""The matrix: every case by its name, and the column it stands in.

A name says who plays: one letter a member, from id 1 on (see `stage.PARTS`). In three-member cases
1 is the third voter, 2 leads and 3 joins.
"""

import dataclasses
import signal
import typing
import zlib

import evidence
import kills
import large
import leader_serves
import observer_masters
import observers
import promised
import reconfig
import readonly
import rolling
import sessions
import syncs


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    column: str
    letters: str
    play: typing.Callable
    settings: tuple = ()
    observer: int = 0
    leader: int = 2  # of cases that do not say so themselves
    limit_s: int = 180


# (who leads, who joins, the third): two Java and one zkd, one Java and two zkd, each leading.
TRIOS = [
    ("j", "j", "z"), ("j", "z", "j"), ("z", "j", "j"),
    ("z", "z", "j"), ("z", "j", "z"), ("j", "z", "z"),
]
# Older servers lead and join, beside yet another Java.
OLDER = [("o", "z", "j"), ("z", "o", "j"), ("m", "z", "o"), ("z", "m", "o")]
OBSERVED = [("j", "z"), ("z", "j"), ("o", "z"), ("z", "o")]
KILLED = [("j", "z", "j"), ("z", "j", "j"), ("z", "z", "j")]


def trio(leader, joiner, third):
    """The members in the order of their ids."""
    return third + leader + joiner


def whose(letter):
    return "zkd" if letter == "z" else "java"


def all_syncs():
    for kind in evidence.KINDS:
        for leader, joiner, third in [*TRIOS, *OLDER]:
            letters = trio(leader, joiner, third)
            yield Case(
                f"sync/{kind}/{letters}/{leader}-leads-{joiner}-joins",
                f"sync-{kind}/{whose(leader)}-leads", letters, syncs.joins(kind),
                tuple(syncs.SETTINGS.get(kind, ())),
            )


def all_kills_in_syncs():
    for kind in evidence.KINDS:
        victims = ["joiner"] if kind == "snap-behind" else ["joiner", "leader", "third"]
        for victim in victims:
            for leader, joiner, third in KILLED:
                letters = trio(leader, joiner, third)
                yield Case(
                    f"kill-in-sync/{kind}/{letters}/{leader}-leads-{joiner}-joins/{victim}-dies",
                    f"kill-in-{kind}", letters, syncs.is_killed(kind, victim),
                    tuple(syncs.SETTINGS.get(kind, ())),
                )


def all_observers():
    for leader, observer in OBSERVED:
        for kind in evidence.KINDS:
            if kind == "trunc":
                continue  # an observer is told what is committed, and nothing else
            letters = leader + leader + observer
            yield Case(
                f"observer/{kind}/{letters}/{leader}-leads-{observer}-observes",
                f"observer/{whose(observer)}-observes", letters, observers.observes(kind),
                tuple(syncs.SETTINGS.get(kind, ())), 3,
            )


def all_observer_masters():
    """1 and 2 follow 3, and feed 4 in turn."""
    for letters in ("jjjz", "zzjj", "zzzz", "jjzz", "zzzj", "oooz", "zzoo"):
        for kind in ("diff-memory", "diff-log", "snap-empty"):
            yield Case(
                f"observer-master/{kind}/{letters}/{letters[2]}-leads-{letters[0]}-feeds-"
                f"{letters[3]}", f"observer-master/{whose(letters[0])}-feeds", letters,
                observer_masters.feed(kind), tuple(syncs.SETTINGS.get(kind, ())), 4, leader=3,
            )


def all_serving():
    for letters in ("zzz", "jzz", "jjz", "zzj"):
        yield Case(
            f"leader-serves/no/{letters}/{letters[2]}-leads", "leader-serves", letters,
            leader_serves.no, tuple(leader_serves.SETTINGS), leader=3,
        )


def all_large():
    for letters in ("zzz", "jzz", "zjz", "jzj", "zzo"):
        yield Case(
            f"large/write/{letters}/{letters[1]}-leads", "large", letters, large.writes,
            tuple(large.SETTINGS),
        )


def all_kills():
    """Whoever leads is 2; of followers that are alike one stands for both."""
    for letters in ("jjz", "jzj", "zzj", "jzz", "zjz"):
        victims = [(2, f"leader-{letters[1]}"), (3, f"follower-{letters[2]}")]
        if letters[0] != letters[2]:
            victims.append((1, f"follower-{letters[0]}"))
        for number, who in victims:
            yield Case(
                f"kill/{letters}/{letters[1]}-leads/{who}-dies", f"kill/{who.split('-')[0]}",
                letters, kills.one(number),
            )
        yield Case(
            f"kill/{letters}/{letters[1]}-leads/leader-{letters[1]}-stops", "kill", letters,
            kills.stops(2),
        )


def all_five():
    for letters, observer in (("jjzzz", "z"), ("zzjjj", "j"), ("jzjzo", "o"), ("ozmjz", "z")):
        # Three of the four voters are enough, and the greatest of the first three leads them.
        yield Case(
            f"five/{letters}/{letters[2]}-leads-{observer}-observes", "five", letters, kills.each,
            leader=3, observer=5, limit_s=300,
        )


def all_rolling():
    for letters, first in (("jjj", False), ("ooo", False), ("omj", True)):
        order = "leader-first" if first else "leader-last"
        yield Case(
            f"rolling/{letters}-to-zzz-and-back/{order}", "rolling", letters,
            rolling.rolls("z", letters, first), limit_s=300,
        )


def all_alone():
    plays = {
        "serves-clients": kills.serves, "leader-dies": kills.one(3), "leader-stops": kills.stops(3),
        "follower-dies": kills.one(2), "each-dies": kills.each,
        "all-stop": kills.all_at_once(signal.SIGTERM),
        "all-die": kills.all_at_once(signal.SIGKILL), "quorum-lost": kills.quorum,
    }
    for name, play in plays.items():
        yield Case(f"alone/zzz/{name}", "alone", "zzz", play, leader=3)
    for kind in evidence.KINDS:
        yield Case(
            f"alone/zzz/{kind}", "alone-syncs", "zzz", syncs.joins(kind),
            tuple(syncs.SETTINGS.get(kind, ())),
        )


def all_reconfigs():
    """2 leads, and is asked."""
    plays = [
        ("grows-and-shrinks", "jjz", reconfig.grows_and_shrinks),
        ("whole", "zjz", reconfig.whole),
        ("leader-leaves", "zjj", reconfig.leader_leaves),
        ("leader-leaves", "jjz", reconfig.leader_leaves),
        ("leader-leaves", "zjz", reconfig.leader_leaves),
        ("leader-moves", "jjz", reconfig.leader_moves),
        ("leader-moves", "zjz", reconfig.leader_moves),
        ("ports-move", "jjz", reconfig.ports_move),
        ("half-way", "jjz", reconfig.half_way),
        ("zkd-leads", "jzj", reconfig.refused),
    ]
    for name, letters, play in plays:
        yield Case(
            f"reconfig/{name}/{letters}", "reconfig", letters, play, reconfig.SETTINGS,
            limit_s=300,
        )
    yield Case(
        "reconfig/feeds-promoted/jjzj", "reconfig", "jjzj", reconfig.feeds_promoted,
        reconfig.SETTINGS, observer=4, limit_s=300,
    )


def all_sessions():
    """1 follows, 2 leads, 3 observes; Apache alone is what the others are held against."""
    plays = {
        "local": (sessions.stays_local, sessions.LOCAL),
        "upgraded": (sessions.is_upgraded, sessions.UPGRADED), "moved": (sessions.moves, ()),
    }
    for name, (play, settings) in plays.items():
        for letters in ("jjj", "zzz", "jzj", "zjz"):
            yield Case(
                f"sessions/{name}/{letters}/{letters[1]}-leads", f"sessions-{name}", letters,
                play, tuple(settings), 3,
            )


def all_read_only():
    """1 is left alone."""
    plays = {"sessions": (readonly.serves_local, readonly.LOCAL),
             "no-sessions": (readonly.serves, readonly.SETTINGS)}
    for name, (play, settings) in plays.items():
        for letters in ("jjj", "zzz", "zjj"):
            yield Case(
                f"read-only/{name}/{letters}/{letters[0]}-is-alone", "read-only", letters, play,
                tuple(settings),
            )


def all_promised():
    for letters in ("jzz", "zzj", "zzo", "jzm", "zzz"):
        yield Case(
            f"promised/outdone/{letters}/{letters[1]}-leads", "promised", letters, promised.outdone,
        )
    for letters in ("jjz", "zoz", "zjj"):
        yield Case(
            f"promised/kept/{letters}/{letters[1]}-leads", "promised", letters, promised.kept,
        )
    for letters in ("jjz", "zzz", "ozz"):
        yield Case(
            f"promised/observed/{letters}/{letters[1]}-leads", "promised", letters,
            promised.observed, observer=3,
        )


CASES = [
    *all_syncs(), *all_kills_in_syncs(), *all_observers(), *all_observer_masters(),
    *all_serving(), *all_large(), *all_kills(), *all_five(), *all_rolling(), *all_alone(), *all_reconfigs(),
    *all_sessions(), *all_read_only(), *all_promised(),
]


def one_a_column(number):
    """One case of each column, in which zkd has a part; the number chooses which, so that in time
    all have their turn. Columns are alike: so each begins to count elsewhere."""
    columns = {}
    for case in CASES:
        if "z" in case.name.split("/", 1)[1]:
            columns.setdefault(case.column, []).append(case)
    starts = {column: zlib.crc32(column.encode()) for column in columns}
    return [cases[(number + starts[column]) % len(cases)] for column, cases in columns.items()]
