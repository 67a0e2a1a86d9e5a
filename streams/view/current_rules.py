"""Current rules for old statements: a replay does not fold a statement again if intake would refuse it today.

Each statement is validated as of its own receipt, so that no rule that depends on the clock refuses the past. A
statement that a person let through (quarantine override) stays accepted. Another province's statement was validated on
arrival, and stands unless it was cut off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg

from schemas.calendar.periods import china_day
from schemas.catalogue import Catalogue
from schemas.identifiers.persons import names_person
from schemas.rules import Origins, validate
from schemas.store.sql_files import sql
from streams.forwarding.findings import Finding
from streams.forwarding.masking import keepable
from streams.kafka.headers import ACCEPTED, ORIGIN, Origin, header, headers_of
from streams.kafka.records import Record
from streams.quarantine.entries import OVERRIDE
from streams.view.cut_offs import Cuts
from streams.view.withheld import PLAIN, TOLD, Withheld, withhold

__all__ = ["Rules", "Withheld", "overridden_by", "withhold"]

Connection = psycopg.Connection[Any]

_DAY, _CHINA = 86_400_000, 8 * 3_600_000
_SAID_BY = "~topic"
"""Column: the topic in which the statement arrived."""


class Rules:
    """The current rules and catalogue. `overridden` returns those of the given origins that a person has let through;
    `cuts` are the cut-offs of other provinces' statements."""

    def __init__(
        self,
        catalogue: Catalogue,
        province: str,
        overridden: Callable[[Sequence[Origin]], Collection[Origin]] = lambda _: (),
        cuts: Cuts | None = None,
    ) -> None:
        self._cuts = cuts or Cuts()
        self._catalogue = catalogue
        # If a department has left the catalogue, its old statements still stand.
        departments = catalogue.departments(province)
        self._topics = {one.records_topic: one.key for one in departments}
        self._who = Origins(departments)
        self._overridden = overridden

    def hold(self, statements: pl.DataFrame, records: Sequence[Record]) -> tuple[pl.DataFrame, tuple[Withheld, ...]]:
        """Return the statements that stand, and those that are refused.

        `statements` come as the view stage decodes them (FLAT with digest, receipt and epoch); `row` is an index into
        `records`.
        """
        statements, cut = self._cuts.hold(statements, records)
        own = statements if statements["epoch"].max() == 0 else statements.filter(pl.col("epoch") == 0)
        origins_of = headers_of([records[row] for row in own["row"].to_list()], ORIGIN, 0)
        said = pl.Series(_SAID_BY, origins_of, dtype=pl.Binary).cast(pl.String)
        own = own.with_columns(said.str.splitn(" ", 2).struct[0].alias(_SAID_BY))
        found: defaultdict[int, list[Finding]] = defaultdict(list)
        for part in _by_day(own):
            for row, code, name, message in self._refusals(part):
                found[row].append({"code": code, "field": name, "message": message})
        if not found:
            return statements, cut
        rows = sorted(found)
        origins = {row: Origin.from_bytes(header(records[row].headers, ORIGIN) or b"") for row in rows}
        waived = set(self._overridden(list(origins.values())))
        refused = [row for row in rows if origins[row] not in waived]
        if not refused:
            return statements, cut
        known = (
            statements.filter(pl.col("row").is_in(refused))
            .select("row", *TOLD, "domain", "received_at")
            .rows(named=True)
        )
        return statements.filter(~pl.col("row").is_in(refused)), cut + tuple(
            Withheld(
                **{name: one[name] for name in PLAIN},
                record_id=keepable(one["record_id"]) or "",
                # Only masking recognises a person's identity number, and it keeps nothing of it.
                uscc=None if names_person(one["uscc"]) else keepable(one["uscc"]),
                department=origins[one["row"]].department,
                findings=tuple(found[one["row"]]),
                origin=origins[one["row"]],
                domain=keepable(one["domain"]),
                received_at=one["received_at"],
            )
            for one in known
        )

    def _refusals(self, part: pl.DataFrame) -> list[tuple[int, str, str | None, str]]:
        latest = part["received_at"].dt.epoch("ms").max()
        assert isinstance(latest, int)
        now = datetime.fromtimestamp(latest / 1000, UTC)
        topics, keys = list(self._topics), list(self._topics.values())
        by = part[_SAID_BY].replace_strict(topics, keys, default=None, return_dtype=pl.String)
        told = [validate(part, self._catalogue, today=china_day(now), now=now), self._who.validate(part, by)]
        refusing = pl.concat(told).filter(pl.col("severity") == "refuse")
        return refusing.select("row", "code", "field", "message_zh").rows()


def _by_day(own: pl.DataFrame) -> list[pl.DataFrame]:
    # Catalogue entries are valid by whole days, so the statements received on one day in China are validated together.
    if own.is_empty():
        return []
    days = ((own["received_at"].dt.epoch("ms") + _CHINA) // _DAY).alias("day")
    if days.n_unique() == 1:
        return [own]
    return [part.drop("day") for part in own.with_columns(days).partition_by("day")]


def overridden_by(connection: Connection) -> Callable[[Sequence[Origin]], Collection[Origin]]:
    """Return a query for the origins that a person has let through, in the generation on the search_path."""

    def ask(origins: Sequence[Origin]) -> Collection[Origin]:
        columns = zip(*((one.topic, one.topic_id, one.partition, one.offset) for one in origins), strict=True)
        values = [*(list(column) for column in columns), OVERRIDE, ACCEPTED]
        rows = connection.execute(sql("view/overridden"), values).fetchall()
        return {Origin(*row) for row in rows}

    return ask
