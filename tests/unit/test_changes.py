"""Every change of a record's life as a statement: what it says, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from time import time
from typing import Any

import polars as pl
import pytest

from producers import StatementRejected
from producers.changes import versions as changes
from producers.changes.publishing import ChangePublisher
from schemas.calendar.periods import china_day
from schemas.catalogue import load
from schemas.contracts.avro import fingerprint, parsed, source
from schemas.contracts.codec import encode
from schemas.contracts.columns import decode_statements
from schemas.contracts.registry import WriterSchema
from schemas.identifiers.uscc import generate
from schemas.rules import validate, validate_origin
from tests.statements import Statement, department, listing, penalty

NAME = "xinliu.Statement"
WRITER = WriterSchema(1, NAME, fingerprint(source(NAME)), source(NAME), parsed(NAME))
P, L = penalty("改1号"), listing("改2号")
DAY = date(2026, 9, 1)
GONE = changes.removed(L, on=DAY, why="提前移出")
MARKED = changes.disputed(P, since=DAY)

EVERY: dict[str, Statement] = {
    "content": changes.corrected(P, facts="改正后的违法事实"),
    "money": changes.corrected(P, fine=Decimal("0.35")),
    "number": changes.corrected(P, document_number="改1-1号"),
    "entity": changes.corrected(P, subject={"uscc": generate(7), "name": "北京另一商贸有限公司"}),
    "repaired": changes.repaired(P),
    "revoked": changes.revoked(P),
    "revoked when repaired": changes.revoked(changes.repaired(P)),
    "back by correction": changes.corrected(changes.revoked(P), **P["penalty"]),
    "removed": GONE,
    "relisted": changes.relisted(GONE),
    "disputed": MARKED,
    "disputed when removed": changes.disputed(GONE),
    "upheld": changes.upheld(MARKED),
    "corrected when disputed": changes.corrected(MARKED, fine=Decimal("0.1")),
    "repaired when disputed": changes.repaired(MARKED),
    "revoked when disputed": changes.revoked(MARKED),
}


@pytest.mark.parametrize("what", EVERY)
def test_no_rule_has_anything_against_a_change(what: str) -> None:
    frame = decode_statements(WRITER, [encode(NAME, EVERY[what])], [0]).frame
    now = datetime.now(UTC) + timedelta(seconds=1)
    found = pl.concat([validate(frame, load(), today=china_day(now), now=now), validate_origin(frame, department())])
    assert found.rows() == []


@pytest.mark.parametrize("what", EVERY)
def test_a_change_keeps_who_and_what_it_is_about_and_grows(what: str) -> None:
    made, first = EVERY[what], L if EVERY[what]["kind"] == "LISTING" else P
    kept = ("record_id", "kind", "province", "domain", "department", "authority")
    assert {name: made[name] for name in kept} == {name: first[name] for name in kept}
    assert made["version"] > first["version"]
    assert abs(made["version"] - time() * 1000) < 86_400_000
    assert what == "entity" or made["subject"] == first["subject"]


def test_what_each_change_says() -> None:
    said = {what: (made["status"], made["reason"], made.get("disputed_since")) for what, made in EVERY.items()}
    assert said["money"] == ("IN_FORCE", "CORRECTED", None)
    assert said["repaired"] == said["repaired when disputed"] == ("REPAIRED", "REPAIRED", None)
    assert said["revoked"] == said["revoked when disputed"] == ("REVOKED", "REVOKED", None)
    assert said["disputed"] == ("IN_FORCE", "DISPUTED", DAY)
    assert said["upheld"] == ("IN_FORCE", "UPHELD", None)
    assert said["corrected when disputed"] == ("IN_FORCE", "CORRECTED", None)
    assert (said["removed"][1], GONE["listing"]["removed_on"], GONE["listing"]["removal_reason"]) == (
        "REMOVED",
        DAY,
        "提前移出",
    )
    back = EVERY["relisted"]
    assert back["reason"] == "RELISTED"
    assert {**L["listing"], "removed_on": None, "removal_reason": None} == back["listing"]
    assert EVERY["revoked"]["penalty"] is None
    assert EVERY["money"]["penalty"] == {**P["penalty"], "fine": Decimal("0.35")}


CANNOT: list[tuple[str, Callable[[], Any]]] = [
    ("not above", lambda: changes.repaired(P, version=P["version"])),
    ("not above", lambda: changes.revoked(P, version=1)),
    ("REPAIRED already", lambda: changes.repaired(changes.repaired(P))),
    ("REVOKED already", lambda: changes.repaired(changes.revoked(P))),
    ("REVOKED already", lambda: changes.revoked(changes.revoked(P))),
    ("only list entries", lambda: changes.removed(P, on=DAY, why="期满")),
    ("only list entries", lambda: changes.relisted(P)),
    ("no removal reason '其他'", lambda: changes.removed(L, on=DAY, why="其他")),
    ("before it was listed", lambda: changes.removed(L, on=date(2020, 1, 1), why="期满")),
    ("removed on 2026-09-01 already", lambda: changes.removed(GONE, on=DAY, why="期满")),
    ("must be a date", lambda: changes.removed(L, on=datetime(2026, 9, 1, tzinfo=UTC), why="期满")),
    ("never removed", lambda: changes.relisted(L)),
    ("bears the mark since", lambda: changes.disputed(MARKED)),
    ("that day has not come", lambda: changes.disputed(P, since=date(2999, 1, 1))),
    ("REVOKED cannot be marked", lambda: changes.disputed(changes.revoked(P))),
    ("no mark of an objection", lambda: changes.upheld(P)),
    ("changes nothing", lambda: changes.corrected(P)),
    ("has no field grounds", lambda: changes.corrected(P, grounds="x")),
    ("must be a time that knows its zone", lambda: changes.repaired(P, stated_at=datetime(2026, 9, 1))),
    ("no statement: record_id, ", lambda: changes.repaired({})),
    ("no kind of record 'X'", lambda: changes.corrected({**P, "kind": "X"}, facts="x")),
    ("content is needed", lambda: changes.disputed(named())),
]


@pytest.mark.parametrize(("why", "change"), CANNOT, ids=[f"{n} {why}" for n, (why, _) in enumerate(CANNOT)])
def test_what_cannot_be_is_refused_with_the_reason(why: str, change: Callable[[], Any]) -> None:
    with pytest.raises(StatementRejected, match=why):
        change()


def named(**parts: Any) -> Statement:
    """Return what identifies P."""
    subject = P["subject"]
    told = {"kind": "PENALTY", "uscc": subject["uscc"], "name": subject["name"], "authority": P["authority"]}
    return changes.named(department(), **{**told, "number": "改1号", **parts})


def test_a_record_is_named_by_what_identifies_it() -> None:
    said = {"version": P["version"] + 1, "stated_at": datetime(2026, 9, 1, tzinfo=UTC)}
    whole = {**P, "disputed_since": None, "registration": None}
    assert changes.revoked(named(), **said) == changes.revoked(whole, **said)
    assert named(record="0" * 32, number=None)["record_id"] == "0" * 32
    with pytest.raises(StatementRejected, match="named by its document number"):
        named(number=None)
    with pytest.raises(StatementRejected, match="name the authority"):
        named(authority=None)


def test_changes_are_published_one_after_the_other() -> None:
    class Kept(ChangePublisher):
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def publish(self, statement: Any, /) -> None:
            self.kept.append(statement)

    publisher = Kept()
    entry: Any = publisher.correct(L, grounds="改正后的事由")
    entry = publisher.dispute(entry, since=DAY)
    entry = publisher.uphold(entry)
    entry = publisher.remove(entry, on=DAY, why="期满")
    entry = publisher.relist(entry)
    entry = publisher.repair(entry)
    entry = publisher.revoke(entry)
    reasons = [said["reason"] for said in publisher.kept]
    assert reasons == ["CORRECTED", "DISPUTED", "UPHELD", "REMOVED", "RELISTED", "REPAIRED", "REVOKED"]
    versions = [said["version"] for said in publisher.kept]
    assert versions == sorted(set(versions))
    assert publisher.kept[-1] is entry
