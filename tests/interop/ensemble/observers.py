"""Observers under leaders of the other kind."""

import evidence
import syncs


def observes(kind):
    """3 observes, and is brought up as the name says; clients write and watch through it."""
    def case(stage):
        syncs.prepare(stage, kind)
        leader, observer = stage[syncs.LEADER], stage[syncs.JOINER]
        marks = stage.marks()
        stage.join(observer)
        stage.proof(evidence.synced(marks, kind, leader, observer))
        stage.proof(evidence.mode_is(observer, "observer"))
        stage.leads(leader)
        stage.history.begin(observer.address, 1)
        stage.watchers.begin([observer])
        stage.history.progress(20)
        # Nobody needs it.
        observer.kill()
        stage.history.progress(10, writers=stage.history.writers[:-1])
        stage.join(observer)
        stage.history.progress(20)
        stage.finish()
    return case

