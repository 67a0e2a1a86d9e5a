"""What the log has and history has not, without servers: what need not be there is looked for in the log once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import nullcontext
from typing import Any
from uuid import UUID

from schemas.records.identity import accepted_key
from streams.integrity.accepted import Keys
from streams.integrity.log_audit import LogAudit

ALL = UUID(int=0), UUID(int=2**128 - 1)
KEY = accepted_key("0" * 31 + "1", 0, 1, 5, 7)


class Log:
    """One statement, and how often the whole log was read."""

    def __init__(self) -> None:
        self.read = 0

    def keys(self, since: Mapping[int, int], upto: Mapping[int, int]) -> Iterator[Keys]:
        self.read += not since
        for partition, end in upto.items():
            yield Keys(partition, [] if since.get(partition) else [(0, KEY, True)], end)

    def beginnings(self, partitions: Collection[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, 0)


class Tables:
    """Tables that hold no statement, and excuse these places."""

    def __init__(self) -> None:
        self.excused: list[tuple[int, int]] = [(0, 0)]

    def transaction(self) -> Any:
        return nullcontext()

    def execute(self, query: str, values: Any = None) -> Any:
        rows: list[Any] = []
        if "FROM position" in query:
            rows = [(0, 1)]
        elif "replay_refused" in query:
            rows = self.excused
        return type("Rows", (), {"fetchall": lambda _: rows, "__iter__": lambda _: iter(rows)})()


def test_what_need_not_be_there_is_looked_for_once() -> None:
    log, tables = Log(), Tables()
    audit = LogAudit(tables, log, own="beijing")  # type: ignore[arg-type]
    for _ in audit.follow():
        pass
    log.read = 0
    for _ in range(3):
        assert audit.look(ALL).differences == ()
    assert log.read == 1, "each slice of each pass would read the whole log"
    tables.excused = []
    (lost,) = audit.look(ALL).differences
    assert (lost.difference, lost.record_id) == ("MISSING", UUID(int=1)), "what was excused once is not for ever"
    assert log.read == 2
