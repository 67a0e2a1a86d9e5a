"""Input of other provinces' exchanges: the intake worker feeds it to the receiving stage beside the departments'
runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from schemas.catalogue import Catalogue
from schemas.contracts.registry import Registry
from schemas.exchange.keys import Keyring
from schemas.servers.connection import Connection
from streams.exchange.incoming.recorder import ReceivingRecorder
from streams.exchange.incoming.stage import Received, ReceivingStage
from streams.forwarding.forwarder import Forwards
from streams.kafka.ranges import Logs, TopicFacts
from streams.kafka.records import Run
from streams.monitoring.instruments import Instruments
from streams.projection.positions import INTAKE_GROUP
from streams.runtime.collector import Work

__all__ = ["Both", "others", "receiving", "resume_exchange"]

log = structlog.get_logger()

Place = tuple[str, int]


def others(connection: Connection, catalogue: Catalogue) -> tuple[str, ...]:
    """Return the provinces whose exchanges are read here; none if this one shares nothing with others."""
    if connection.exchange is None:
        return ()
    return tuple(province for province in catalogue.provinces if province != connection.province)


def receiving(
    connection: Connection, catalogue: Catalogue, registry: Registry, forwarder: Forwards, instruments: Instruments
) -> ReceivingStage | None:
    """Return the stage for other provinces' exchanges; None if this one shares nothing with others."""
    provinces = others(connection, catalogue)
    if connection.exchange is None or not provinces:
        return None
    recorder = ReceivingRecorder(instruments, provinces)
    return ReceivingStage(
        registry, catalogue, provinces, Keyring(connection.exchange.keyring), forwarder, recorder=recorder
    )


@dataclass(slots=True)
class _Prepared:
    own: Any
    foreign: Received
    finished: bool = False


class Both:
    """Two works as one: runs of other provinces' exchanges go to the receiving stage, all others to the departments'
    work."""

    def __init__(self, own: Work, foreign: ReceivingStage) -> None:
        self._own, self._foreign = own, foreign
        self._topics: Collection[str] = frozenset(foreign.topics)

    def prepare(self, runs: Sequence[Run]) -> _Prepared:
        """Prepare both parts."""
        own = [run for run in runs if run.topic not in self._topics]
        foreign = [run for run in runs if run.topic in self._topics]
        return _Prepared(self._own.prepare(own) if own else None, self._foreign.prepare(foreign))

    def finish(self, prepared: _Prepared) -> None:
        """Finish both parts; a finished part is not repeated if the other one must be tried again."""
        self._foreign.check(prepared.foreign)  # first: after a Reread the batch must have had no effect
        if prepared.own is not None and not prepared.finished:
            self._own.finish(prepared.own)
            prepared.finished = True
        self._foreign.finish(prepared.foreign)


def resume_exchange(
    stage: ReceivingStage, logs: Logs, facts: Mapping[str, TopicFacts], partitions: Iterable[Place]
) -> dict[Place, int]:
    """Return where reading goes on in these partitions of exchanges, and set the stage to it.

    Nothing is lost for good: messages that the log here has deleted are a gap, which the chain finds by itself.
    """
    wanted = sorted(place for place in partitions if place[0] in stage.topics)
    if not wanted:
        return {}
    ranges, commits = logs.ranges(wanted), logs.committed(INTAKE_GROUP, wanted)
    found = {}
    for place in wanted:
        first, end = ranges[place]
        known = commits.get(place)
        note, offset = ("", first) if known is None else (known.note, known.next_offset)
        if known is not None and (known.topic_id not in ("", facts[place[0]].topic_id) or offset > end):
            # The log here is another one, or lost its end. The links write the missing messages into it again; the
            # anchor, which counts in the origin's log, recognises those that are known.
            log.warning("exchange.log_made_anew", topic=place[0], partition=place[1], goes_on_at=first, was=offset)
            offset = first
        found[place] = stage.resumed(place, offset, note, first=first)
    return found
