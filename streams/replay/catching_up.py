"""Bringing a generation that nobody works on to where the logs end: the same fold as the live view's, told to nobody."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import psycopg

from schemas.catalogue import load
from schemas.connection import Connection
from schemas.errors import Retryable
from schemas.registry import Registry
from schemas.store import connect, serving_generation
from streams.collector import Reread
from streams.logs import Logs
from streams.positions import PROJECTED, resume
from streams.replay.reading import PartitionReader
from streams.replay.rules import Rules, overridden_by
from streams.view import ViewStage

__all__ = ["catch_up"]

_TRIES = 5
"""A batch that meets another transaction is tried again so often."""

Place = tuple[str, int]


def catch_up(
    connection: Connection, generation: int, *, until: Mapping[Place, int] | None = None, principal: str = "admin"
) -> int:
    """Fold what the logs hold behind the position of a generation, up to `until` (where they end now unless told); return
    how many messages that were.

    Statements are held against today's rules as in a rebuild; nothing is announced. Nobody else may fold into it meanwhile.
    Raises Retryable where a server does not answer: what is folded stays, and the next call goes on there; PositionLost where
    the position does not fit the log.
    """
    logs = Logs(connection.kafka)
    facts = logs.describe(PROJECTED)
    places = [(topic, p) for topic in PROJECTED for p in range(facts[topic].partitions)]
    ends = dict(logs.ends(places)) if until is None else {place: until[place] for place in places if place in until}
    database = connection.database.get_secret_value()
    with connect(database, generation=generation, autocommit=True) as store:
        standing = resume(store, logs, facts, ends)
        serving = serving_generation(store)
    behind = {place: end for place, end in ends.items() if standing[place] < end}
    if not behind:
        return 0
    with Registry(connection.registry) as registry, connect(database, generation=serving, autocommit=True) as asking:
        rules = Rules(load(), connection.province, overridden_by(asking))
        stage = ViewStage(database, registry, facts, generation=generation, rules=rules, silent=True)
        with closing(stage):
            folded = 0
            # accepted first, as far as it goes: an entry of the quarantine is closed by what came of it.
            for place, end in sorted(behind.items()):
                folded += _fold(connection, stage, place, standing[place], end, principal)
    with connect(database, generation=generation, autocommit=True) as store:
        _reach(store, behind)
    return folded


def _fold(connection: Connection, stage: ViewStage, place: Place, first: int, end: int, principal: str) -> int:
    folded = 0
    with closing(PartitionReader(connection.kafka, *place, principal=principal)) as reader:
        for run in reader.runs(first, end):
            prepared = stage.prepare([run])
            for attempt in range(_TRIES):
                try:
                    stage.finish(prepared)
                    break
                except Retryable:
                    if attempt == _TRIES - 1:
                        raise
                except Reread as error:
                    raise Retryable(f"another process moves {place[0]}/{place[1]} of this generation") from error
            folded += len(run.records)
    return folded


def _reach(store: psycopg.Connection[Any], ends: Mapping[Place, int]) -> None:
    # Behind the last record there may be nothing more than a transaction's mark.
    for (topic, partition), end in ends.items():
        store.execute(
            "UPDATE position SET next_offset = %s WHERE topic = %s AND partition = %s AND next_offset < %s",
            (end, topic, partition, end),
        )
