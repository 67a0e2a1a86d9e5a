"""A department that did not wait fetches later what intake refused of its file, mends it, and sends it again."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from deploy.deadline import wait_until
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests.integration.test_chain import write_file, xinliu
from tests.integration.test_quarantine import catalogue_with, intake, states
from tests.offline import view_caught_up
from tests.workers import workers

__all__ = ["catalogue_with"]


def entries_of(connection: Connection, rows: Sequence[Mapping[str, str]]) -> set[str]:
    """Return the names of the entries about the entities of these rows: other modules have left entries of others."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        found = store.execute(
            'SELECT department, partition, "offset" FROM quarantine WHERE uscc = ANY(%s)',
            ([row["CF_XDR_SHXYM"] for row in rows],),
        ).fetchall()
    return {"/".join(map(str, place)) for place in found}


@pytest.mark.timeout(200)
def test_what_intake_refused_of_an_earlier_file_comes_back_mended_and_closes_its_entries(
    stack: Connection,
    tmp_path: Path,
    catalogue_with: Callable[..., Path],  # the fixture
) -> None:
    run = uuid.uuid4().hex[:8]
    rows = [{"CF_WSH": f"收{run}-{n}号", "CF_XDR_SHXYM": generate(791_000 + n), "备注": f"第{n}件"} for n in range(6)]
    for row in rows[:2]:
        row["CF_CFLB"] = "警告"
    sent = write_file(tmp_path / "sent.csv", rows)
    out = tmp_path / "refused.csv"
    fetch = ("receipts", "--department", "tax", "--file", str(sent), "--rejects", str(out))
    smaller = catalogue_with(without="penalty_category,警告")
    with workers(stack, tmp_path, "view"), intake(stack, tmp_path, XINLIU_CATALOGUE=str(smaller)):
        assert xinliu(stack, "publish", str(sent), "--department", "tax")["sent"] == 6
        assert wait_until(lambda: len(entries_of(stack, rows[:2])) == 2, seconds=60)
        assert wait_until(lambda: view_caught_up(stack), seconds=30)
        entries = entries_of(stack, rows[:2])

        def told() -> int:
            return int(xinliu(stack, *fetch, expect=None)["refused_by_intake"])

        assert wait_until(lambda: told() == 2, seconds=30, every=0.5)
        assert xinliu(stack, *fetch, "--since", "2099-01-01")["refused_by_intake"] == 0
        with out.open(encoding="utf-8-sig", newline="") as file:
            assert list(csv.DictReader(file)) == [], "nothing has been told since then"
        assert xinliu(stack, *fetch, expect=1)["refused_by_intake"] == 2
        with out.open(encoding="utf-8-sig", newline="") as file:
            refused = list(csv.DictReader(file))
        assert [row["CF_WSH"] for row in refused] == [row["CF_WSH"] for row in rows[:2]]
        assert [row["备注"] for row in refused] == ["第0件", "第1件"]
        assert all("[CATEGORY]" in row["退回原因"] for row in refused)

        mended = tmp_path / "mended.csv"
        with mended.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(refused[0]))
            writer.writeheader()
            writer.writerows({**row, "CF_CFLB": "通报批评"} for row in refused)
        outcome = xinliu(stack, "publish", str(mended), "--department", "tax", "--wait")
        assert (outcome["sent"], outcome["refused_by_intake"]) == (2, 0)
        assert wait_until(lambda: {states(stack)[name] for name in entries} == {"SUPERSEDED"}, seconds=30)
        assert wait_until(lambda: told() == 0, seconds=30, every=0.5)
