"""A row that its department refuses, on real servers: from `xinliu publish` to what a reader is shown, and how that ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from schemas.catalogue import load
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests.integration.test_chain import xinliu
from tests.unit.importing import penalty, write
from tests.workers import workers

KEY = "drug-regulation"
"""A department that no other test publishes for."""


@pytest.fixture(scope="module")
def running(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        yield stack


def state(connection: Connection, code: str) -> tuple[str, datetime | None]:
    """Return what a reader is told of an entity in the department's domain, and as of when."""
    (domain,) = load().department("beijing", KEY).domains
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        row = store.execute(
            "SELECT state, data_as_of FROM report.domain_state(%s, '2022-01-01', '2026-12-31') WHERE domain = %s",
            (code, domain),
        ).fetchone()
    assert row is not None
    return str(row[0]), row[1]


def rows_of(*changes: dict[str, str]) -> list[dict[str, str]]:
    """Return rows of the department."""
    authority, name = load().department("beijing", KEY).authorities[0]
    own = {"CF_CFJG": name, "CF_CFJGDM": authority, "CF_SJLY": name, "CF_SJLYDM": authority}
    return [penalty(**{**own, **change}) for change in changes]


def test_a_refused_row_is_pending_until_it_is_mended(running: Connection, tmp_path: Path) -> None:
    good, other, stranger = generate(880_001), generate(880_002), generate(880_003)
    first = {"CF_WSH": "拒〔2026〕1号", "CF_XDR_SHXYM": good}
    second = {"CF_WSH": "拒〔2026〕2号", "CF_XDR_SHXYM": other, "更新时间": "2026-03-02 10:00:00"}
    path = write(tmp_path / "a.csv", rows_of(first, {**second, "CF_JDRQ": "01/02/2025"}))
    publish = ("publish", str(path), "--department", KEY, "--wait")
    for _ in range(2):
        said = xinliu(running, *publish, expect=1)
        assert (said["sent"], said["pending_entities"], said["holding_rows"]) == (1, 1, 0)
        assert [state(running, code)[0] for code in (good, other, stranger)] == ["有", "待核", "无"]
    listed = xinliu(running, "refused", "list", "--department", KEY, expect=1)
    assert [one["entry"] for one in listed] == [said["refusals"][0]["entry"]], "the same file twice is one entry"
    operators = xinliu(running, "quarantine", "show", listed[0]["entry"])
    assert (operators["state"], operators["uscc"], operators["message"]["record"]) == (
        "OPEN",
        other,
        "xinliu.RefusedRow",
    )
    redriven = ("quarantine", "redrive", listed[0]["entry"], "--reason", "再查", "--wait")
    assert xinliu(running, *redriven, expect=1)["outcomes"] == {"IMPOSSIBLE": 1}
    # An earlier version of the same record, accepted meanwhile, closes nothing; the row that was refused, mended, does.
    earlier = write(tmp_path / "b.csv", rows_of({**second, "状态": "已撤销", "更新时间": "2026-03-01 10:00:00"}))
    xinliu(running, "publish", str(earlier), "--department", KEY, "--wait")
    assert state(running, other)[0] == "待核"
    mended = write(tmp_path / "c.csv", rows_of(first, {**second, "CF_JDRQ": "2025-02-01"}))
    xinliu(running, "publish", str(mended), "--department", KEY, "--wait")
    assert state(running, other)[0] == "有"
    assert wait_until(lambda: not xinliu_list(running), seconds=30, every=0.5)


def xinliu_list(connection: Connection) -> list[Any]:
    """Return what the department's receipts leave refused, be it something or nothing."""
    found: list[Any] = xinliu(connection, "refused", "list", "--department", KEY, expect=(0, 1))
    return found


def test_a_row_of_no_entity_holds_the_source_back_until_it_is_mended_or_discarded(
    running: Connection, tmp_path: Path
) -> None:
    stranger, code = generate(880_013), generate(880_011)
    xinliu(running, "mark", "--department", KEY)
    assert wait_until(lambda: state(running, stranger)[0] == "无", seconds=30, every=0.3)
    known = datetime(2026, 3, 5, 2, tzinfo=UTC)
    row = {"CF_WSH": "拒〔2026〕11号", "更新时间": "2026-03-05 10:00:00", "CF_XDR_SHXYM": code[:-2]}
    rejects = tmp_path / "refused.csv"
    bad = [row, {**row, "CF_WSH": "拒〔2026〕12号", "CF_XDR_SHXYM": ""}]
    path = write(tmp_path / "a.csv", rows_of(*bad))
    said = xinliu(running, "publish", str(path), "--department", KEY, "--wait", "--rejects", str(rejects), expect=1)
    assert (said["pending_entities"], said["holding_rows"]) == (0, 2)
    xinliu(running, "mark", "--department", KEY)

    def held() -> bool:
        found, as_of = state(running, stranger)
        return found == "未归集" and as_of is not None and as_of < known

    assert wait_until(held, seconds=30, every=0.3), state(running, stranger)
    # One is mended in the file of rejects, which says what it came of; of the other the department decides.
    text = rejects.read_text(encoding="utf-8-sig").replace(f",{code[:-2]},", f",{code},").splitlines()
    (tmp_path / "mended.csv").write_text("\n".join(text[:2]), encoding="utf-8")
    xinliu(running, "publish", str(tmp_path / "mended.csv"), "--department", KEY, "--wait")
    assert wait_until(lambda: len(xinliu_list(running)) == 1, seconds=30, every=0.5)
    assert state(running, stranger)[0] == "未归集", "the other one may still be anybody's"
    (left,) = xinliu_list(running)
    xinliu(running, "refused", "discard", left["entry"], "--department", KEY, "--reason", "重复录入")
    assert wait_until(lambda: state(running, stranger)[0] == "无", seconds=30, every=0.3)
    assert state(running, code)[0] == "有"
    entry = xinliu(running, "quarantine", "show", left["entry"])
    assert entry["state"] == "DISCARDED"
    assert [(one["kind"], one["reason"]) for one in entry["outcomes"]] == [("REFUSED_ROW_DISCARDED", "重复录入")]
    assert xinliu_list(running) == []
