"""A running ensemble becomes another one member by member, on the same directories, and back."""

import os

import kills
from stage import PARTS, change


def rolls(to, back, leader_first=False):
    """`to` is the letter that replaces every member, `back` the letters they had."""
    def case(stage):
        kills.begin(stage)
        for letters in [to] * len(back), list(back):
            replace_all(stage, letters, leader_first)
        stage.finish()
        moves = [one.moves for one in stage.watchers.sessions]
        if not all(moves):
            raise AssertionError(f"a session never moved: {moves}")
        events = sum(one.events for one in stage.watchers.sessions)
        stage.proof(f"sessions moved {moves} times and had {events} events")
    return case


def replace_all(stage, letters, leader_first):
    left = {member.id for member in stage.all}
    while left:
        leader = stage.leader()
        others = sorted(left - {leader.id})
        lead_now = leader.id in left and (leader_first or not others)
        member = stage[leader.id if lead_now else others[0]]
        left.discard(member.id)
        replace(stage, member, letters[member.id - 1])
    leader = stage.leader()
    stage.leads(leader)
    stage.proof(f"all are {''.join(letters)}, led by {leader.id}")


def replace(stage, member, letter):
    was, name = member.mode(), letter_name(letter)
    member.stop()
    change(member, letter)
    stage.history.progress(10)
    member.start()
    mode = stage.serves(member)
    runs(member)
    stage.proof(f"{member.id}, {was}, became {name}, {mode}")
    stage.history.progress(20)
    kills.ring(stage)


def letter_name(letter):
    return f"{letter} ({PARTS[letter]})"


def runs(member):
    """What the kernel says of the process: a case about zkd shall not be won by a JVM."""
    exe = os.path.basename(os.readlink(f"/proc/{member.pid()}/exe"))
    if (exe == "java") != (member.kind == "apache"):
        raise AssertionError(f"{member} is in truth {exe}")
