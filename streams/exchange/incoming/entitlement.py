"""Entitlement of another province on its exchange: it may publish only what a department of ours might send to us.

The checks ask who speaks, about what, and whether the statement can be stored without harm to records that are not the
province's own. The content must pass the very rules that intake applies to our own departments (schemas/rules): that
the origin has judged it is only the origin's word, and a province whose key was stolen has none.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from schemas.calendar.periods import china_day
from schemas.catalogue import Catalogue
from schemas.exchange.topics import WITHDRAWN
from schemas.identifiers.persons import holds_person, names_person
from schemas.identifiers.persons_columns import persons_in
from schemas.records.partitioning import partitions_of
from schemas.records.registration import DOMAIN, KIND
from schemas.rules import Origins, validate
from schemas.rules.texts import FORMED, TEXTS
from streams.forwarding.findings import Finding, finding

__all__ = ["AHEAD", "Entitlement", "out_of_bounds"]

AHEAD = timedelta(hours=1)
"""Limit on how far another province's clock may be ahead. A checkpoint or an epoch beyond it is not believed: otherwise
no honest one could be newer."""

_STATUSES = ("IN_FORCE", "REPAIRED", "REVOKED", WITHDRAWN)
_BODIES = pl.col("has_penalty") | pl.col("has_listing") | pl.col("has_registration")
_KINDS = {"PENALTY": "has_penalty", "LISTING": "has_listing", KIND: "has_registration"}
_ID = r"^[0-9a-f]{32}$"
_WITHDRAWING = ("STATUS", "REASON", "DOMAIN")
"""Rules that do not apply to a withdrawal: it has a status and a reason of its own (`_misshapen` checks them), and may
be made because its domain is no longer in force."""


class Entitlement:
    """The statements that one province may publish, by the catalogue.

    `partitions` is the number of partitions of its exchange; `now` is the clock, in UTC.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        province: str,
        *,
        partitions: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._catalogue = catalogue
        self._partitions = partitions
        self._now = now
        departments = catalogue.departments(province)
        self._departments = [one.key for one in departments]
        self._who = Origins(departments)

    def refused(self, frame: pl.DataFrame) -> dict[int, list[Finding]]:
        """Return, by row, the findings against statements that may not stand there.

        `frame` has the columns of FLAT, and `epoch` and `partition` from the message's headers and place.
        """
        found: dict[int, list[Finding]] = {}
        if frame.is_empty():
            return found
        unknown = ~pl.col("department").is_in(self._departments)
        now = self._now()
        latest = int((now + AHEAD).timestamp() * 1000)
        places = pl.Series(partitions_of(frame["uscc"].fill_null(""), self._partitions).astype(np.int64))
        self._mark(found, frame, "WRONG_DEPARTMENT", "department", unknown)
        self._mark(found, frame, "EXCHANGE_EPOCH", None, ~pl.col("epoch").is_between(1, latest))
        self._mark(found, frame, "EXCHANGE_PARTITION", "uscc", pl.col("partition") != places)
        self._mark(found, frame, "EXCHANGE_BODY", "status", _misshapen())
        self._mark(found, frame, "EXCHANGE_RECORD", "record_id", ~pl.col("record_id").str.contains(_ID))
        for row, uscc in frame.select("row", "uscc").rows():
            if names_person(uscc) or holds_person(uscc):
                found.setdefault(row, []).append(finding("EXCHANGE_PERSON", field="uscc"))
        for name in (one for one in TEXTS if one not in FORMED):
            for row in frame["row"].filter(persons_in(frame[name])).to_list():
                found.setdefault(row, []).append(finding("EXCHANGE_PERSON", field=name))
        said_by = frame.select(pl.when(pl.col("department").is_in(self._departments)).then("department")).to_series()
        flat = frame.drop("epoch", "partition")
        broken = self._who.validate(flat, said_by)
        beyond = out_of_bounds(flat, self._catalogue, now)
        for row, code, name, message in pl.concat([beyond, broken]).select("row", "code", "field", "message_zh").rows():
            found.setdefault(row, []).append({"code": code, "field": name, "message": message})
        return found

    @staticmethod
    def _mark(
        found: dict[int, list[Finding]], frame: pl.DataFrame, code: str, field: str | None, broken: pl.Expr
    ) -> None:
        for row in frame.filter(broken.fill_null(True))["row"].to_list():
            found.setdefault(row, []).append(finding(code, field=field))


def out_of_bounds(frame: pl.DataFrame, catalogue: Catalogue, now: datetime) -> pl.DataFrame:
    """Return the FINDINGS for which intake would refuse these statements (FLAT) from a department of ours."""
    found = validate(frame, catalogue, today=china_day(now), now=now).filter(pl.col("severity") == "refuse")
    withdrawals = frame.filter(pl.col("status") == WITHDRAWN)["row"].implode()
    return found.filter(~(pl.col("row").is_in(withdrawals) & pl.col("code").is_in(_WITHDRAWING)))


def _misshapen() -> pl.Expr:
    """Match an unknown status, a body that is missing, forbidden or of another kind, and a wrong domain."""
    in_force, kind = pl.col("status") == "IN_FORCE", pl.col("kind")
    whole = pl.any_horizontal(
        (kind == name) & pl.col(body) & pl.all_horizontal(~pl.col(other) for other in _KINDS.values() if other != body)
        for name, body in _KINDS.items()
    )
    return (
        ~pl.col("status").is_in(_STATUSES)
        | ~kind.is_in(list(_KINDS))
        | pl.when(in_force).then(~whole).otherwise(_BODIES)
        | ((pl.col("status") == WITHDRAWN) != (pl.col("reason") == WITHDRAWN))
        | ((kind == KIND) != (pl.col("domain") == DOMAIN))
    )
