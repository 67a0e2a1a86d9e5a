"""Durable events of a link on the own topic `operations`: a restart loses none of them."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from consumers.links.clusters import Place
from schemas.contracts.registry import Registry
from schemas.errors import XinliuError
from schemas.operations.event import Operation
from schemas.operations.log import OperationsWriter
from schemas.servers.connection import Connection

__all__ = ["GAP", "HELD", "RENEWED", "WENT_ON", "Events", "LinkStanding", "link_events"]

log = structlog.get_logger()

HELD, WENT_ON, GAP, RENEWED = "LINK_HELD", "LINK_WENT_ON", "LINK_GAP", "LINK_RENEWED"


@dataclass(frozen=True, slots=True)
class LinkStanding:
    """The state of one partition of a link according to `operations`: held, or a gap, at an offset of the own log."""

    kind: str
    peer: str
    topic: str
    partition: int
    offset: int
    at: datetime
    why: str


class Events:
    """Writes the events of one link. It logs an event that it cannot write now, and writes it at the next chance."""

    def __init__(self, connection: Connection, peer: str) -> None:
        self._connection, self._peer = connection, peer
        self._writer: OperationsWriter | None = None
        self._registry: Registry | None = None
        self._waiting: list[Operation] = []

    def write(self, kind: str, place: Place, offset: int, why: str) -> None:
        """Write an event about this partition. Never raises: copying must not wait for an event."""
        detail = {"peer": self._peer, "topic": place[0], "partition": place[1], "offset": offset}
        by = f"link@{socket.gethostname()}"
        self._waiting.append(Operation(kind, None, datetime.now(UTC), by, why, detail))
        self.catch_up()

    def catch_up(self) -> None:
        """Write the events that could not be written before."""
        while self._waiting:
            try:
                if self._writer is None:
                    self._registry = Registry(self._connection.registry)
                    self._writer = OperationsWriter(self._connection.kafka, self._registry)
                self._writer.write(self._waiting[0])
            except XinliuError as error:
                log.warning("link.event_waits", peer=self._peer, waiting=len(self._waiting), why=str(error))
                return
            self._waiting.pop(0)

    def close(self) -> None:
        """Try once more, and end."""
        self.catch_up()
        if self._registry is not None:
            self._registry.close()


def link_events(operations: Iterable[Operation]) -> dict[tuple[str, str, int], LinkStanding]:
    """Return the last event by peer, topic and partition; partitions that went on since are left out."""
    found: dict[tuple[str, str, int], LinkStanding] = {}
    for told in operations:
        if told.kind not in (HELD, WENT_ON, GAP, RENEWED):
            continue
        detail = told.detail
        key = str(detail["peer"]), str(detail["topic"]), int(detail["partition"])
        if told.kind == WENT_ON:
            found.pop(key, None)
        else:
            found[key] = LinkStanding(told.kind, *key, int(detail["offset"]), told.at, told.reason)
    return found
