"""What the logs must show before a case may say that a sync of its name has happened.

Both sides are asked. Java's leader names the learner in most of these lines; a snapshot's line
has only the zxid that the learner came with, which the line before it gives to the learner's id.
"""

import re

KINDS = ("diff-memory", "diff-log", "trunc", "snap-empty", "snap-behind")
LEARNER = {
    "diff": r"Getting a diff from the leader 0x\w+",
    "trunc": r"Truncating log to get in sync with the leader 0x\w+",
    # Not the empty one that every directory begins with.
    "snap": r"Getting a snapshot from leader 0x[1-9a-f]\w*",
}
BEGUN = r"Synchronizing with Learner sid: {sid} .*peerLastZxid=0x(?P<peer>\w+)"
JAVA = {
    "diff-memory": [r"Using committedLog for peer sid: {sid}$", r"Sending DIFF .*sid: {sid}$"],
    "diff-log": [r"Use txnlog and committedLog for peer sid: {sid}$", r"Sending DIFF .*sid: {sid}$"],
    "trunc": [r"Sending TRUNC (to follower )?zxid\w*=0x\w+ +for peer sid: ?{sid}$"],
    "snap-empty": [r"Sending snapshot last zxid of peer is 0x{peer},"],
    "snap-behind": [r"Sending snapshot last zxid of peer is 0x{peer},"],
}
ZKD = {
    "diff-memory": [r"Sending DIFF .*for peer sid: {sid}: what it misses is in memory$"],
    "diff-log": [r"Sending DIFF .*for peer sid: {sid}: what it misses is in the log$"],
    "trunc": [r"Sending TRUNC .*for peer sid: {sid}: it has more than was committed$"],
    "snap-empty": [r"Sending SNAP .*for peer sid: {sid}: "],
    "snap-behind": [r"Sending SNAP .*for peer sid: {sid}: "],
}
# A follower whose leader has gone, and who needed no limit's end to know.
LINK_GONE = {
    "zkd": r"Leaving the leader: the leader's link is gone",
    "apache": r"Exception when following the leader\njava\.(io\.EOF|net\.Socket)Exception",
}
# A leader that began so and did otherwise.
TAKEN_BACK = r"Detected gap between end of txnlog|fall back to use snapshot"


class NoEvidence(AssertionError):
    """What a case says did not happen, or nobody said so."""


class Marks:
    """Where the logs ended before something was begun."""

    def __init__(self, members):
        self.at = {member.id: member.log_mark() for member in members}

    def said(self, member):
        """Whole lines since then: the last may still be on its way."""
        text = member.log_text(self.at[member.id])
        return text[:text.rfind("\n") + 1]


def synced(marks, kind, leader, learner, times=1):
    """The lines that prove that `learner` was brought up by a sync of this kind by `leader`.

    `times`: how often it may have begun; None for any number, of which the first counts.
    """
    said = marks.said(leader)
    begun = list(re.finditer(BEGUN.format(sid=learner.id), said, re.M))
    if not begun or (times is not None and len(begun) != times):
        raise NoEvidence(
            f"{leader} began {len(begun)} syncs with {learner.id}, not {times or 'any'}:\n"
            + excerpt(said)
        )
    end = begun[1].start() if len(begun) > 1 else len(said)
    here = said[begun[0].start():end]
    if kind == "snap-behind" and int(begun[0]["peer"], 16) == 0:
        raise NoEvidence(f"{learner} came with nothing:\n{excerpt(here)}")
    wanted = (ZKD if leader.kind == "zkd" else JAVA)[kind]
    lines = [begun[0].group()]
    for pattern in wanted:
        lines.append(find(pattern.format(sid=learner.id, peer=begun[0]["peer"]), here, leader))
    if re.search(TAKEN_BACK, here):
        raise NoEvidence(f"{leader} has thought better of it:\n{excerpt(here)}")
    lines += obeyed(marks, kind, learner)
    return [line.strip() for line in lines]


def obeyed(marks, kind, learner):
    """The learner's own line, and no other of its sort before it."""
    said = marks.said(learner)
    every = re.finditer("|".join(LEARNER.values()), said, re.M)
    first = next(every, None)
    if first is None or not re.match(LEARNER[kind.split("-")[0]], first.group()):
        raise NoEvidence(f"{learner} did not say that it was told {kind}:\n{excerpt(said)}")
    return [first.group()]


def find(pattern, said, member):
    found = re.search(pattern, said, re.M)
    if not found:
        raise NoEvidence(f"{member} did not say /{pattern}/:\n{excerpt(said)}")
    return found.group()


INTERESTING = re.compile(
    r"Synchronizing|Sending|Getting|Truncat|committedLog|LEADING|FOLLOWING|OBSERVING|LOOKING"
    r"|ERROR|WARN|panick|xception|fatal|epoch|GOODBYE|UPTODATE|NEWLEADER", re.I,
)


def excerpt(said, lines=40):
    """The telling lines of a log."""
    found = [line[:300] for line in said.splitlines() if INTERESTING.search(line)]
    return "\n".join("    " + line for line in found[-lines:]) or "    (nothing was said)"


def mode_is(member, mode):
    """By srvr: who leads, follows, observes."""
    found = member.mode()
    if found != mode:
        raise NoEvidence(f"{member} is {found}, not {mode}, says srvr")
    return f"srvr of {member.id}: {found}"
