"""What a department's receipts leave refused, and the rows of its file that these are."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from producers.files.rows.rejects import REASON_HEADER, write_rejects
from producers.refused_records import refused_in, rows_of
from tests.unit.importing import penalty, read, write


def told(offset: int, outcome: str, *codes: str, record_id: str | None = None, version: int | None = None) -> Any:
    """Return a receipt with one exception."""
    findings = [{"code": code, "field": "penalty_categories", "message": f"说明{code}"} for code in codes]
    exception = {
        "partition": 0,
        "offset": offset,
        "record_id": record_id,
        "version": version,
        "outcome": outcome,
        "findings": findings,
    }
    return {"issued_at": datetime(2026, 1, 1, tzinfo=UTC), "watermark": [], "exceptions": [exception]}


def left(*receipts: Any) -> list[tuple[int, list[str], bool]]:
    """Return offset, codes and whether it was discarded, of what is left refused."""
    return [(one.offset, [f["code"] for f in one.findings], one.discarded) for one in refused_in(receipts)]


def test_of_one_place_what_was_said_last_holds() -> None:
    assert left(told(1, "REFUSED", "A"), told(2, "REFUSED", "B"), told(1, "SUPERSEDED", "SUPERSEDED")) == [
        (2, ["B"], False)
    ]
    assert left(told(1, "REFUSED", "A"), told(1, "FLAGGED", "A"), told(1, "ACCEPTED", "OVERRIDDEN")) == []
    assert left(told(1, "REFUSED", "A"), told(1, "REFUSED", "B")) == [(1, ["B"], False)]
    assert left(told(1, "FLAGGED", "A"), told(2, "OLDER", "OLDER")) == []


def test_what_was_discarded_is_still_to_be_mended_and_keeps_its_reasons() -> None:
    assert left(told(1, "REFUSED", "A"), told(1, "DISCARDED", "DISCARDED")) == [(1, ["A", "DISCARDED"], True)]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["REFUSED", "ACCEPTED", "SUPERSEDED", "DISCARDED"]))))
def test_receipts_that_come_again_all_of_them_change_nothing(history: Sequence[tuple[int, str]]) -> None:
    receipts = [told(offset, outcome, outcome) for offset, outcome in history]
    once, twice = left(*receipts), left(*receipts, *receipts)
    assert {(offset, discarded) for offset, _, discarded in twice} == {
        (offset, discarded) for offset, _, discarded in once
    }


def test_refused_rows_come_back_in_the_columns_of_the_file_and_only_they(tmp_path: Path) -> None:
    rows = [penalty(CF_WSH=f"京税罚〔2025〕{n}号", CF_SY=f"案卷{n}") for n in range(4)]
    bad = penalty(CF_WSH="京税罚〔2025〕9号", CF_XDR_SHXYM="")
    found = read(write(tmp_path / "sent.csv", [*rows, bad]))
    second, third = found.outgoing[1], found.outgoing[2]
    receipts = [
        told(0, "REFUSED", "CATEGORY", record_id=second.record_id, version=second.version),
        told(0, "REFUSED", "CATEGORY", record_id=second.record_id, version=second.version),  # told again
        told(1, "REFUSED", "CATEGORY", record_id=third.record_id, version=third.version),
        told(1, "SUPERSEDED", "SUPERSEDED", record_id=third.record_id, version=third.version),
        told(2, "REFUSED", "CATEGORY", record_id=second.record_id, version=second.version + 1),
        told(3, "REFUSED", "NOT_AVRO"),
    ]
    errors, elsewhere = rows_of(found, refused_in(receipts))
    assert [(error.line, error.column, error.code) for error in errors] == [(3, "CF_CFLB", "CATEGORY")]
    assert elsewhere == 2, "another version, and what could not be read"
    assert write_rejects(tmp_path / "out.csv", found.table, [*found.errors, *errors]) == 2
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["CF_WSH"] for row in written] == ["京税罚〔2025〕1号", "京税罚〔2025〕9号"]
    assert written[0][REASON_HEADER] == "CF_CFLB: 说明CATEGORY [CATEGORY]"
    assert [row.line for row in read(tmp_path / "out.csv").outgoing] == [2], "ready to be mended and sent again"
