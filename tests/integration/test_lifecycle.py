"""docs/lifecycle.md, cell by cell: its tables are read from the page and driven against the real tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from schemas.contracts.codec import encode
from schemas.identifiers.uscc import generate
from schemas.records.identity import digest, digest_hex
from schemas.servers.connection import Connection
from streams.forwarding.findings import STAGE_FINDINGS
from streams.projection.batch import Projection
from streams.projection.staging import staged
from tests.statements import FIRST_VERSION, Statement, listing, penalty
from tests.viewstore import Store, decoded, folded, opened, take, tombstones

PAGE = Path(__file__).parents[2] / "docs" / "lifecycle.md"
FIRST, BETWEEN, LAST, NEWER = 10, 20, 30, 40
"""Versions: of the first publication, of a late statement, of the newest that is held, of a newer one."""

MARK, LEFT = date(2026, 9, 1), date(2026, 9, 2)
LISTED_ONLY = {"remove", "relist", "removed"}


@pytest.fixture(scope="module")
def store(stack: Connection) -> Iterator[Store]:
    """Tables of our own."""
    with opened(stack, 998) as connection:
        yield connection


def table(heading: str) -> dict[str, dict[str, str]]:
    """Return the table under a heading: first cell of a row → header → cell."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    headers, _, *rows = lines
    return {row[0]: dict(zip(headers[1:], row[1:], strict=True)) for row in rows}


NEWER_TABLE = table("What is held, what arrives: the newer statement")
LATE_TABLE = table("The late older statement")
STATES = table("What each state is")
FLAGS = table("Flags")

ARRIVALS = ("publish", "correct", "move", "dispute", "uphold", "repair", "revoke", "remove", "relist")
HELD = ("nothing", "in force", "disputed", "removed", "repaired", "revoked")


@dataclass(frozen=True)
class Cell:
    """A cell of a table, for one kind of record."""

    kind: str
    held: str
    arrives: str
    text: str

    @property
    def says(self) -> str:
        """What becomes of the state."""
        return self.text.split(" · ")[0]

    @property
    def flags(self) -> list[str]:
        """What the receipt bears, sorted."""
        return sorted(self.text.split(" · ")[1].split(", ")) if " · " in self.text else []

    def __str__(self) -> str:
        """As pytest names it."""
        return f"{self.kind}: {self.held} < {self.arrives}"


def cells(rows: dict[str, dict[str, str]]) -> list[Cell]:
    """Return every cell, once for each kind of record that has it."""
    return [
        Cell(kind, held, arrives, text)
        for held, row in rows.items()
        for arrives, text in row.items()
        for kind in ("LISTING", "PENALTY")
        if kind == "LISTING" or not LISTED_ONLY & {held, arrives}
    ]


def said(kind: str, what: str, version: int, before: Statement | None = None) -> Statement:
    """Return a statement of that change, made from the last one with content."""
    made = penalty("生1号") if kind == "PENALTY" else listing("生1号")
    base = before or {**made, "disputed_since": None}
    body = kind.lower()
    changes: dict[str, dict[str, Any]] = {
        "publish": {"reason": "PUBLISHED", "disputed_since": None, body: made[body]},
        "correct": {"reason": "CORRECTED", "disputed_since": None, body: {**base[body], "basis": "改正后的依据"}},
        "move": {"reason": "CORRECTED", "disputed_since": None, "subject": {**base["subject"], "uscc": generate(1)}},
        "dispute": {"reason": "DISPUTED", "disputed_since": MARK},
        "uphold": {"reason": "UPHELD", "disputed_since": None},
        "repair": {"reason": "REPAIRED", "status": "REPAIRED", "disputed_since": None, body: None},
        "revoke": {"reason": "REVOKED", "status": "REVOKED", "disputed_since": None, body: None},
    }
    if kind == "LISTING":
        changes |= {
            "remove": {"reason": "REMOVED", body: {**base[body], "removed_on": LEFT, "removal_reason": "期满"}},
            "relist": {
                "reason": "RELISTED",
                "disputed_since": None,
                body: {**base[body], "removed_on": None, "removal_reason": None},
            },
        }
    stated_at = datetime.fromtimestamp((FIRST_VERSION + version) / 1000, UTC)
    return {**base, "status": "IN_FORCE", "version": FIRST_VERSION + version, "stated_at": stated_at, **changes[what]}


def history(kind: str, held: str) -> list[Statement]:
    """Return the statements that make the state."""
    if held == "nothing":
        return []
    first = said(kind, "publish", FIRST)
    how = {"in force": "correct", "disputed": "dispute", "removed": "remove", "repaired": "repair", "revoked": "revoke"}
    return [first, said(kind, how[held], LAST, first)]


def key(statement: Statement) -> tuple[int, str]:
    """Return partition and key of a statement in `accepted`, as intake writes it."""
    told = digest_hex(*digest(encode("xinliu.Statement", statement)))
    return 0, f"{statement['record_id']}|{statement['version']}|{told}"


def erased(statements: list[Statement]) -> list[Statement]:
    """Return what a revocation outranks; no two versions are equal here."""
    last = max((s["version"] for s in statements if s["status"] == "REVOKED"), default=0)
    return [statement for statement in statements if statement["version"] < last]


def assert_state(store: Store, cell: Cell, says: str, statements: list[Statement]) -> None:
    """Hold the tables against what the page says of the state."""
    meant = STATES[says]
    moved = says in ("moved", "removed, moved")
    entity = generate(1 if moved else 0)
    rows = store.execute(
        "SELECT uscc, status, disputed_since, listing_removed_on, COALESCE(penalty_facts, listing_grounds) FROM record"
    ).fetchall()
    ((uscc, status, disputed, removed, content),) = rows
    assert uscc == entity
    shown = meant["report shows it"]
    assert (status == "IN_FORCE") == (content is not None) == shown.startswith("yes")
    assert disputed == (MARK if "disputed_since" in shown else None)
    assert removed == (LEFT if "removed_on" in shown else None)
    counted = int(meant["credit_view counts it"].startswith("yes"))
    viewed = store.execute("SELECT uscc, records, penalties, listings FROM credit_view").fetchall()
    assert viewed == [(entity, 1, counted * (cell.kind == "PENALTY"), counted * (cell.kind == "LISTING"))]
    former = store.execute("SELECT uscc FROM former_entity").fetchall()
    assert former == ([(generate(0),)] if moved and statements[:-1] else [])
    assert meant["history"].startswith("whole") == meant["accepted"].startswith("whole") == (says != "revoked")
    if says == "revoked":
        assert {s["version"] for s in erased(statements)} == {s["version"] for s in statements[:-1]}


def assert_erased(store: Store, statements: list[Statement]) -> None:
    """Whatever a revocation outranks has no content in history, and a tombstone; nothing else does."""
    rows = store.execute("SELECT version, statement IS NULL FROM record_history ORDER BY version").fetchall()
    gone = erased(statements)
    wanted = [(s["version"], s in gone) for s in sorted(statements, key=lambda one: int(one["version"]))]
    assert rows == wanted
    assert tombstones(store) == {key(statement) for statement in gone}


@pytest.mark.parametrize("cell", cells(NEWER_TABLE), ids=str)
def test_a_newer_statement(store: Store, cell: Cell) -> None:
    held = history(cell.kind, cell.held)
    base = next((one for one in reversed(held) if one["status"] == "IN_FORCE"), None)
    statements = [*held, said(cell.kind, cell.arrives, NEWER, base)]
    findings = take(store, [[one] for one in statements])
    assert sorted(found.code for found in findings) == cell.flags
    assert_state(store, cell, cell.says, statements)
    assert_erased(store, statements)
    tables = folded(store, [statements])
    assert folded(store, [[one] for one in reversed(statements)]) == tables, "order does not matter"


@pytest.mark.parametrize("cell", cells(LATE_TABLE), ids=str)
def test_a_late_older_statement(store: Store, cell: Cell) -> None:
    held = history(cell.kind, cell.held)
    late = said(cell.kind, cell.arrives, BETWEEN, held[0])
    statements = [held[0], late, held[1]]
    before = folded(store, [held])
    findings = take(store, [[one] for one in (*held, late)])
    assert sorted(found.code for found in findings) == cell.flags
    assert [found.outcome for found in findings if found.code == "OLDER"] == ["OLDER"]
    assert cell.says.startswith("unchanged")
    after = folded(store, [held, [late]])
    assert after[:2] == before[:2], "neither the record nor the view"
    assert_erased(store, statements)
    gone = erased(statements)
    assert ("the earlier erased" in cell.says) == (held[0] in gone and cell.held != "revoked")
    assert ("itself erased" in cell.says) == (late in gone)


def test_the_page_has_every_cell_and_every_flag_has_a_text() -> None:
    assert tuple(NEWER_TABLE) == HELD
    assert tuple(LATE_TABLE) == HELD[1:]
    assert all(tuple(row) == ARRIVALS for row in (*NEWER_TABLE.values(), *LATE_TABLE.values()))
    told = {flag for rows in (NEWER_TABLE, LATE_TABLE) for cell in cells(rows) for flag in cell.flags}
    explained = {flag for row in FLAGS for flag in row.split(", ")}
    assert told <= explained <= set(STAGE_FINDINGS)


@pytest.mark.parametrize("kind", ["PENALTY", "LISTING"])
def test_a_whole_life_in_every_order(store: Store, kind: str) -> None:
    orders = list(permutations(range(5)))
    # A record for each order, so that one batch says the next of all of them.
    lives = [life(kind, f"生{number}号", 2 * number) for number in range(len(orders))]
    tables = folded(store, [[one for life in lives for one in life]])
    turns = [[life[order[turn]] for life, order in zip(lives, orders, strict=True)] for turn in range(5)]
    assert folded(store, turns) == tables


def life(kind: str, number: str, entity: int) -> list[Statement]:
    """Return a record's statements from its publication, by way of an objection and of another entity, to its correction."""
    made = penalty(number, entity=entity) if kind == "PENALTY" else listing(number, entity=entity)
    first = said(kind, "publish", 1) | {name: made[name] for name in ("record_id", "subject", kind.lower())}
    marked = said(kind, "dispute", 2, first)
    moved = said(kind, "move", 3, marked)
    moved["subject"] |= {"uscc": generate(entity + 1)}
    return [first, marked, moved, said(kind, "revoke", 4, moved), said(kind, "correct", 5, moved)]


def test_the_same_change_twice_changes_nothing(store: Store) -> None:
    held = history("LISTING", "revoked")
    once = folded(store, [held])
    assert folded(store, [held, held, [held[1]]]) == once
    assert [found.code for found in take(store, [held, [held[1]]])] == []


def test_what_was_refused_of_a_revoked_record_loses_its_content(store: Store) -> None:
    first, revoked = history("PENALTY", "revoked")
    entry = {
        "topic": "records.tax", "topic_id": "t", "partition": 0, "department": "tax", "received_at": datetime.now(UTC),
        "uscc": None, "domain": "tax", "record_id": first["record_id"], "version": first["version"], "findings": [],
        "value": b"refused", "quarantine_partition": 0,
    }  # fmt: skip
    take(store, [[first]])
    projection = Projection(store)
    with store.transaction():
        projection.quarantine({**entry, "offset": 0, "quarantine_offset": 0})
        projection.quarantine({**entry, "offset": 1, "quarantine_offset": 1, "record_id": "no id", "version": None})
        projection.quarantine({**entry, "offset": 2, "quarantine_offset": 2, "department": "court"})
    with store.transaction():
        projection.fold(staged(decoded([revoked], 1))[0])
    with store.transaction():
        projection.quarantine({**entry, "offset": 3, "quarantine_offset": 3})
    rows = store.execute('SELECT "offset", value IS NULL FROM quarantine ORDER BY 1').fetchall()
    assert rows == [(0, True), (1, False), (2, False), (3, True)]


def test_another_department_cannot_take_over_change_or_erase_a_record(store: Store) -> None:
    mine = said("PENALTY", "publish", FIRST)
    other = penalty("别1号", key="court")
    hostile = {**said("PENALTY", "revoke", NEWER, mine), **{n: other[n] for n in ("domain", "department", "authority")}}
    moved = {**other, "record_id": mine["record_id"], "version": mine["version"] + 99}
    for batches in ([[mine], [hostile], [moved]], [[moved], [hostile], [mine]], [[hostile, mine, moved]]):
        take(store, batches)
        rows = store.execute("SELECT department, status, version FROM record ORDER BY 1").fetchall()
        assert rows == [("court", "IN_FORCE", moved["version"]), ("tax", "IN_FORCE", mine["version"])]
        kept = store.execute("SELECT department FROM record_history WHERE statement IS NOT NULL ORDER BY 1").fetchall()
        assert kept == [("court",), ("court",), ("tax",)], "nothing is erased of either"
        assert tombstones(store) == set()
    found = take(store, [[mine], [hostile]])
    assert sorted(one.code for one in found) == ["NEVER_PUBLISHED", "SHARED_ID"]
