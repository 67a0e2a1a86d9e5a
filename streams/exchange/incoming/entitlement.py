"""What another province may say on its exchange: only what a department of ours might say to us.

Asked is who speaks, of what, and whether the statement can be kept without harm to anything that is not the province's
own; and its content is held against the very rules that intake holds our own departments' against (schemas/rules): that
the origin has judged it is the origin's word, and a province whose key was stolen has none.
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
"""How far another province's clock may be ahead: a checkpoint, or an epoch, beyond it is not believed,
or nothing that is honest could be newer."""

_STATUSES = ("IN_FORCE", "REPAIRED", "REVOKED", WITHDRAWN)
_BODIES = pl.col("has_penalty") | pl.col("has_listing") | pl.col("has_registration")
_KINDS = {"PENALTY": "has_penalty", "LISTING": "has_listing", KIND: "has_registration"}
_ID = r"^[0-9a-f]{32}$"
_WITHDRAWING = ("STATUS", "REASON", "DOMAIN")
"""Rules that a withdrawal is not held against: it has a status and a reason of its own (`_misshapen` looks at them),
and may be made because its domain is not in force any more."""


class Entitlement:
    """What one province may say, by the catalogue; `partitions` are those of its exchange, `now` is the clock, in
    UTC."""

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
        """Return, by row, why a statement may not stand there.

        `frame` has the columns of FLAT, and `epoch` and `partition`: what the message's headers and place say.
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
    """Return for what intake would refuse another province's statements (FLAT), were they a department's of ours
    (FINDINGS)."""
    found = validate(frame, catalogue, today=china_day(now), now=now).filter(pl.col("severity") == "refuse")
    withdrawals = frame.filter(pl.col("status") == WITHDRAWN)["row"].implode()
    return found.filter(~(pl.col("row").is_in(withdrawals) & pl.col("code").is_in(_WITHDRAWING)))


def _misshapen() -> pl.Expr:
    """A status nobody knows, a body where there may be none or another kind's, a registration outside of its domain."""
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
