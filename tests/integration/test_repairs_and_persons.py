"""A garbled file on real servers, from its cells to the view; and a person's number, which no part of the way keeps."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from consumers.report import credit_view as reading
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests import warm
from tests.integration.test_intake import codes, publish_raw
from tests.offline import assert_view_is_the_fold, log_of
from tests.statements import framed, penalty
from tests.unit.importing import penalty as row
from tests.unit.importing import write
from tests.unit.test_persons import holds, written
from tests.workers import environment, workers

EXCEPTED = "91350211M0000XUF46"


@pytest.fixture(scope="module")
def logs(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Both workers run; this is where their logs are."""
    folder = tmp_path_factory.mktemp("workers")
    with workers(stack, folder, "intake", "view"):
        yield folder


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def test_what_is_mended_is_what_is_seen(stack: Connection, logs: Path, tmp_path: Path) -> None:
    run = uuid.uuid4().hex[:8]
    first, second, third = (generate(713_000 + number) for number in range(3))
    updated = {"更新时间": _now(), "CF_FRDB": "", "CF_SY": f"案卷{run}"}
    rows = [
        row(CF_WSH=f"修{run}〔2025〕1号", CF_XDR_MC="甲公司;乙公司", CF_XDR_SHXYM=f"{first};{second}", **updated),
        row(
            CF_WSH=f"修{run}[2025]2号",
            CF_XDR_SHXYM=f" {third.lower()}",
            CF_JDRQ="45901",
            CF_CFLB="罚款、没收违法所得",
            **updated,
        ),
        row(CF_WSH=f"修{run}〔2025〕3号", CF_XDR_SHXYM=EXCEPTED, CF_NR_FK="1，234.5", **updated),
        row(CF_WSH=f"修{run}〔2025〕4号", CF_CFLB="批评教育", **updated),
    ]
    path = write(tmp_path / "a.csv", rows)
    command = [sys.executable, "-m", "xinliu", "publish", str(path), "--department", "tax", "--wait", "--json"]
    done = warm.run(
        [*command, "--repairs", str(tmp_path / "r.csv")],
        env=environment(stack),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["sent"], said["refused"], said["refused_by_intake"], said["flagged"]) == (4, 1, 0, 1)
    assert [(error["line"], error["code"]) for error in said["errors"]] == [(5, "CATEGORY")]
    assert {remark["code"] for remark in said["remarks"]} == {"AMOUNT_SHARED", "CONFISCATION_WITHOUT_AMOUNT"}
    assert {repair["code"] for repair in said["repairs"]} == {
        "PARTIES_SPLIT", "BRACKETS", "SPACES", "LOWER_CASE", "EXCEL_SERIAL", "CATEGORY_SEPARATOR", "THOUSANDS", "FULL_WIDTH",
    }  # fmt: skip
    assert len((tmp_path / "r.csv").read_text(encoding="utf-8-sig").splitlines()) == 1 + sum(
        repair["count"] for repair in said["repairs"]
    )
    database = stack.database.get_secret_value()
    seen = {code: reading.read(database, code).penalties for code in (first, second, third, EXCEPTED)}
    assert [len(seen[code]) for code in (first, second, third)] == [1, 1, 1]
    (mended,) = seen[third]
    assert (mended["document_number"], mended["categories"]) == (
        f"修{run}〔2025〕2号",
        "罚款;没收违法所得",
    )
    assert mended["decided_on"] == date(2025, 9, 1)
    assert f"修{run}〔2025〕3号" in {penalty["document_number"] for penalty in seen[EXCEPTED]}

    again = warm.run(command, env=environment(stack), capture_output=True, text=True, check=False)
    assert {remark["code"] for remark in json.loads(again.stdout)["remarks"]} == {
        "AMOUNT_SHARED", "CONFISCATION_WITHOUT_AMOUNT",
    }, "what a rule says is said each time, and nothing else"  # fmt: skip

    # One party stated later and alone may be a correction that did not name the old subject.
    later = write(
        tmp_path / "b.csv", [rows[0] | {"CF_XDR_MC": "丁公司", "CF_XDR_SHXYM": generate(713_009), "更新时间": _now()}]
    )
    command[4] = str(later)
    alone = warm.run(command, env=environment(stack), capture_output=True, text=True, check=False)
    assert [remark["code"] for remark in json.loads(alone.stdout)["remarks"]] == ["POSSIBLE_DUPLICATE"], alone.stdout
    assert_view_is_the_fold(stack)


def test_a_persons_number_is_kept_by_no_part_of_the_way(stack: Connection, logs: Path) -> None:
    run = uuid.uuid4().hex[:8]
    numbers = written()
    statements = [penalty(f"人{run}-{place}", entity=714_000 + place) for place in range(len(numbers))]
    people = [
        {**statement, "subject": {**statement["subject"], "uscc": number}}
        for statement, number in zip(statements, numbers, strict=True)
    ]
    people += [penalty(f"注{run}", entity=714_100, remark=f"联系人 {numbers[0]} 已到场")]
    places, told = publish_raw(stack, list(framed(stack, people)))
    # Some are written with characters that nobody sees, which is told too.
    assert [codes(told[place]) - {"HIDDEN_CHARACTER"} for place in places[:-1]] == [{"USCC_RESIDENT_ID"}] * len(numbers)
    assert codes(told[places[-1]]) == {"PERSONAL_IDENTIFIER"}
    kept = [json.dumps([told[place] for place in places], default=str)]
    kept += [path.read_text(encoding="utf-8", errors="replace") for path in logs.iterdir()]
    messages = [*log_of(stack, "quarantine"), *log_of(stack, "accepted")]
    kept += [(message.value() or b"").decode("utf-8", "replace") for message in messages]
    kept += [value.decode("utf-8", "replace") for message in messages for _, value in message.headers() or ()]
    with connect(stack.database.get_secret_value(), autocommit=True) as store:
        rows = store.execute("SELECT uscc, domain, record_id, findings, value FROM quarantine").fetchall()
    kept += [str((uscc, domain, record, findings)) for uscc, domain, record, findings, _ in rows]
    kept += [bytes(value or b"").decode("utf-8", "replace") for *_, value in rows]
    assert not [text for text in kept for number in numbers if holds(text, number)]
