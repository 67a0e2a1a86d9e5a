"""What another province may say on its exchange: only what its own departments may say to it.

No rules on content: the origin judged that, by its own catalogue of its own day. What is asked here is who speaks, of what,
and whether the statement can be kept without harm to anything that is not the province's own.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from schemas.catalogue import Catalogue
from schemas.exchange import WITHDRAWN
from schemas.partitioning import partitions_of
from schemas.persons import holds_person, names_person
from schemas.persons_columns import persons_in
from schemas.registration import DOMAIN, KIND
from schemas.rules import Origins
from schemas.rules.texts import FORMED, TEXTS
from streams.messages import Finding, finding

__all__ = ["Entitlement"]

_STATUSES = ("IN_FORCE", "REPAIRED", "REVOKED", WITHDRAWN)
_BODIES = pl.col("has_penalty") | pl.col("has_listing") | pl.col("has_registration")
_KINDS = {"PENALTY": "has_penalty", "LISTING": "has_listing", KIND: "has_registration"}
_ID = r"^[0-9a-f]{32}$"
_ASKED = ("WRONG_PROVINCE", "WRONG_DOMAIN", "WRONG_REGISTRAR", "WRONG_LIST")
"""Of the rules on who speaks, those that hold for another province; its authorities are its own business."""


class Entitlement:
    """What one province may say, by the catalogue; `partitions` are those of its exchange."""

    def __init__(self, catalogue: Catalogue, province: str, *, partitions: int) -> None:
        self._province = province
        self._partitions = partitions
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
        places = pl.Series(partitions_of(frame["uscc"].fill_null(""), self._partitions).astype(np.int64))
        self._mark(found, frame, "WRONG_DEPARTMENT", "department", unknown)
        self._mark(found, frame, "EXCHANGE_EPOCH", None, pl.col("epoch").is_null() | (pl.col("epoch") < 1))
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
        broken = self._who.validate(frame.drop("epoch", "partition"), said_by).filter(pl.col("code").is_in(_ASKED))
        for row, code, name, message in broken.select("row", "code", "field", "message_zh").rows():
            found.setdefault(row, []).append({"code": code, "field": name, "message": message})
        return found

    @staticmethod
    def _mark(
        found: dict[int, list[Finding]], frame: pl.DataFrame, code: str, field: str | None, broken: pl.Expr
    ) -> None:
        for row in frame.filter(broken.fill_null(True))["row"].to_list():
            found.setdefault(row, []).append(finding(code, field=field))


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
