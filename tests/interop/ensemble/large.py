"""`jute.maxbuffer` beyond its default: what one write may hold goes over every link of the ensemble."""

from exchanging.link import Link

import evidence
from stage import TIMEOUT_MS

SETTINGS = ["-Djute.maxbuffer=4194304"]
BYTES = 3_500_000


def write(stage, member, path):
    link = Link(member.client_port, TIMEOUT_MS)
    link.create(path, path.encode() * (BYTES // len(path)), expect=None)
    link.end()


def writes(stage):
    """By clients of whoever leads and of whoever follows; and to who was away meanwhile."""
    third, leader, joiner = stage[1], stage[2], stage[3]
    stage.lead(leader, third)
    stage.join(joiner)
    for member in stage.all:
        write(stage, member, f"/large-{member.id}")
    stage.settle()
    stage.leads(leader)
    joiner.kill()
    write(stage, third, "/large-without")
    marks = stage.marks()
    stage.join(joiner)
    stage.proof(evidence.synced(marks, "diff-memory", leader, joiner))
    stage.leads(leader)
    stage.finish()
