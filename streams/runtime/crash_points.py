"""Named points at which a worker can be told to die, as a power cut would end it: for the tests of what survives.

Nothing is armed unless `xinliu worker … --crash-at POINT[:PASSING]` says so.
"""

from __future__ import annotations

import os
import signal

from schemas.errors import UsageError

__all__ = ["POINTS", "arm", "crash_point"]

POINTS = {
    "intake.decoded": "a batch has been examined, nothing is written",
    "intake.forwarding": "some of a batch may have reached accepted or quarantine",
    "intake.forwarded": "the broker has all of a batch, its input is not acked",
    "intake.vector": "a progress vector is being written",
    "exchange.forwarding": "some of another province's run may have reached accepted or quarantine",
    "exchange.forwarded": "the broker has all of another province's run, its input is not acked",
    "redrive.examined": "a decision's entries have been examined, nothing is written",
    "redrive.forwarded": "what it lets through is in accepted, what came of it is told nowhere",
    "redrive.told": "the outcomes are in quarantine, operations does not know that it is carried out",
    "correct.inside-transaction": "a batch of a correction has been written, nothing of it is committed",
    "correct.committed": "a batch of a correction is committed, the others are not",
    "view.decoded": "a batch has been decoded",
    "view.before-transaction": "nothing of a batch has been sent to PostgreSQL",
    "view.inside-transaction": "everything has been written, nothing is committed",
    "view.committed": "PostgreSQL has committed, Kafka's offset is not",
    "rebalance.revoked": "partitions are being given up",
    "rebalance.assigned": "partitions were given, the reader has not gone to their positions",
    "rebuild.created": "a generation has been made, operations does not know of it",
    "rebuild.begun": "the generation knows up to where it is filled, nothing is in it",
    "rebuild.decoded": "a batch of a rebuild has been decoded, the one before may be under way",
    "rebuild.inside-transaction": "a batch of a rebuild has been copied, nothing of it is committed",
    "rebuild.committed": "a batch of a rebuild is committed",
    "rebuild.filled": "all of accepted is in the tables, nothing of it has been compared",
    "rebuild.carry": "what the log has lost has been looked for, not committed",
    "rebuild.repeated": "what is repeated has been deleted, not committed",
    "rebuild.outranked": "what is outranked has been deleted, not committed",
    "rebuild.indexed": "an index has been made, not committed",
    "rebuild.index-history": "the indexes of history are there, that is not noted",
    "rebuild.key": "records have their key, that is not noted",
    "rebuild.index-record": "all indexes are there, that is not noted",
    "rebuild.derive": "what follows from history has been computed, not committed",
    "rebuild.credit": "the credit views have been computed, not committed",
    "rebuild.analyze": "PostgreSQL knows what the records are like, not committed",
    "rebuild.left": "entities that a record left have been told, not committed",
    "rebuild.foreign": "checkpoints of other provinces have been applied, not committed",
    "rebuild.unstorable": "what no table can hold has been entered, not committed",
    "rebuild.evidence": "what the quarantine has let go of has been carried over, not committed",
    "rebuild.caught-up": "the quarantine is folded, the generation is not READY",
    "rebuild.ready": "the generation is READY, operations does not know",
    "relay.before-publish": "outbox rows have been read, none is published",
    "publisher.before-publish": "entries for the other provinces have been read, nothing is written",
    "publisher.run-produced": "a run stands in the log, its transaction is open, no checkpoint is made",
    "publisher.before-commit": "run and checkpoints stand in the log, the transaction is open",
    "publisher.committed": "run and checkpoints are committed, the outbox does not know",
    "publisher.done": "the outbox knows",
    "promote.checked": "the generation may be promoted and is in the readers' views, nothing is caught up",
    "promote.caught-up": "the generation stands close behind the one that serves",
    "promote.inside-switch": "everything is carried over and switched, nothing is committed",
    "promote.switched": "another generation serves, operations does not know",
    "promote.told": "operations knows, entities whose view is another are not announced",
    "promote.announced": "the changed entities are announced, the promote is not noted as ended",
    "relay.published": "receipts are published, their outbox rows are not deleted",
}
"""Every point, and what has happened and what has not when a worker passes it."""

_armed: dict[str, int] = {}


def arm(where: str) -> None:
    """Make this process kill itself at a point: `POINT`, or `POINT:3` for the third time it is passed.

    Raises UsageError where there is no such point.
    """
    point, _, passing = where.partition(":")
    if point not in POINTS or not (passing or "1").isdecimal() or int(passing or "1") < 1:
        raise UsageError(f"{where!r} is no crash point; write POINT or POINT:PASSING, with one of {', '.join(POINTS)}")
    _armed[point] = int(passing or "1")


def crash_point(point: str) -> None:
    """End the process here, where that was asked for."""
    if not _armed:
        return
    left = _armed.get(point, 0)
    if left == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if left:
        _armed[point] = left - 1
