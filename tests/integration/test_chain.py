"""The whole chain on real servers: from a department's file to what a reader is shown."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from schemas.contracts.codec import decode, unframe
from schemas.contracts.registry import Registry
from schemas.identifiers.uscc import generate
from schemas.records.identity import digest_hex
from schemas.servers.connection import Connection
from schemas.store.database import connect
from tests import warm
from tests.offline import assert_view_is_the_fold, lag, log_of
from tests.statements import department
from tests.workers import environment, workers


@pytest.fixture(scope="module")
def running(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """The servers with both workers."""
    with workers(stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        yield stack


def xinliu(connection: Connection, *words: str, expect: int | tuple[int, ...] | None = 0) -> Any:
    """Run the command with --json and return what it said; `expect` is its exit code, one of several, or None for any."""
    done = warm.run(
        [sys.executable, "-m", "xinliu", *words, "--json"],
        env=environment(connection),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    codes = (expect,) if isinstance(expect, int) else expect
    assert codes is None or done.returncode in codes, (done.stdout[-2000:], done.stderr)
    return json.loads(done.stdout)


def write_file(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write a department's CSV."""
    authority, name = department().authorities[0]
    full = [
        {
            "CF_XDR_MC": "北京某某商贸有限公司",
            "CF_XDR_LB": "法人及非法人组织",
            "CF_WFXW": "未按期申报",
            "CF_SY": f"案卷{row['CF_WSH']}",
            "CF_YJ": "税收征收管理法",
            "CF_CFLB": "罚款",
            "CF_NR": "罚款",
            "CF_NR_FK": "0.2",
            "CF_JDRQ": "2026-05-06",
            "CF_YXQ": "2099-12-31",
            "CF_CFJG": name,
            "CF_CFJGDM": authority,
            "CF_SJLY": name,
            "CF_SJLYDM": authority,
            "更新时间": "2026-06-01 08:00:00",
            **row,
        }
        for row in rows
    ]
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in full for key in row)), restval="")
        writer.writeheader()
        writer.writerows(full)
    return path


def tax(view: dict[str, Any]) -> dict[str, Any]:
    """Return the line of the domain tax."""
    (line,) = (line for line in view["domains"] if line["domain"] == "tax")
    return dict(line)


def test_a_file_becomes_a_view_and_a_correction_moves_it(running: Connection, tmp_path: Path) -> None:
    first, second = generate(700_001), generate(700_002)
    rows = [{"CF_WSH": f"链{number}号", "CF_XDR_SHXYM": first} for number in range(3)]
    bad = {"CF_WSH": "链坏号", "CF_XDR_SHXYM": "362322198709086409"}
    outcome = xinliu(
        running, "publish", str(write_file(tmp_path / "a.csv", [*rows, bad])), "--department", "tax", "--wait", expect=1
    )
    assert (outcome["sent"], outcome["refused"], outcome["visible"]) == (3, 1, True)
    assert [error["code"] for error in outcome["errors"]] == ["USCC_RESIDENT_ID"]
    assert "19870908" not in json.dumps(outcome)
    before = xinliu(running, "show", first)
    assert (tax(before)["state"], tax(before)["penalties"]) == ("有", 3)

    moved = {**rows[0], "CF_XDR_SHXYM": second, "原主体": first, "更新时间": "2026-06-02 08:00:00"}
    revoked = {**rows[1], "状态": "已撤销", "更新时间": "2026-06-02 08:00:00"}
    xinliu(running, "publish", str(write_file(tmp_path / "b.csv", [moved, revoked])), "--department", "tax", "--wait")
    assert tax(xinliu(running, "show", first))["penalties"] == 1
    assert tax(xinliu(running, "show", second))["penalties"] == 1

    again = xinliu(running, "show", first, "--token", before["token"])
    assert [p["document_number"] for p in again["penalties"]] == ["链0号", "链2号"] or again["erased"] == 1
    assert again["erased"] == 1, "a revoked record's content is gone, and the answer says so"
    as_known = xinliu(running, "show", first, "--as-of", before["read_at"])
    assert as_known["erased"] == 1
    assert_view_is_the_fold(running)


def test_a_token_gives_the_same_answer_again(running: Connection, tmp_path: Path) -> None:
    uscc = generate(700_010)
    rows = [{"CF_WSH": f"令{number}号", "CF_XDR_SHXYM": uscc} for number in range(4)]
    xinliu(running, "publish", str(write_file(tmp_path / "a.csv", rows)), "--department", "tax", "--wait")
    before = xinliu(running, "show", uscc)
    corrected = [{**row, "CF_NR_FK": "9.9", "更新时间": "2026-06-03 08:00:00"} for row in rows]
    xinliu(running, "publish", str(write_file(tmp_path / "b.csv", corrected)), "--department", "tax", "--wait")
    assert {p["fine"] for p in xinliu(running, "show", uscc)["penalties"]} == {"9.900000"}
    again = xinliu(running, "show", uscc, "--token", before["token"])
    for part in ("uscc", "name", "kind", "window", "domains", "penalties", "listings", "token", "generation"):
        assert again[part] == before[part], part


def test_a_day_and_a_level_are_asked_of_the_command(running: Connection, tmp_path: Path) -> None:
    uscc = generate(700_015)
    row = {"CF_WSH": "日1号", "CF_XDR_SHXYM": uscc, "失信程度": "一般失信", "CF_GSJZQ": "2030-01-01"}
    outcome = xinliu(running, "publish", str(write_file(tmp_path / "a.csv", [row])), "--department", "tax", "--wait")
    assert "PUBLISH_OUT_OF_BOUNDS" in {remark["code"] for remark in outcome["remarks"]}, "a flag, and accepted"
    view = xinliu(running, "show", uscc, "--to", "2026-11-25")
    (shown,) = view["penalties"]
    assert (shown["level"], shown["publish_to"], shown["publish_basis"]) == ("一般", "2027-05-06", "LEVEL_MAXIMUM")
    assert (shown["publishable"], shown["reportable"]) == (True, True)
    assert view["anchors"]["PENALTY"]["anchor"] == "decided_on"
    on = xinliu(running, "show", uscc, "--on", "2026-05-06")
    assert (on["window"], on["on"], len(on["penalties"]), tax(on)["state"]) == (None, "2026-05-06", 1, "有")
    assert xinliu(running, "show", uscc, "--on", "2026-05-05")["penalties"] == []
    early = xinliu(running, "show", uscc, "--on", "2026-05-06", "--as-of", "2026-06-01")
    assert early["penalties"] == [], "told months later: not known then"
    again = xinliu(running, "show", uscc, "--token", early["token"])
    for part in ("on", "window", "known_until", "penalties", "listings", "domains", "token"):
        assert again[part] == early[part], part

    def refused(*words: str) -> str:
        done = warm.run(
            [sys.executable, "-m", "xinliu", "show", uscc, *words],
            env=environment(running),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 2, done.stderr
        return done.stderr

    assert "北京市六部门通知 2025-08-19" in refused("--from", "2021-11-24", "--to", "2026-11-25")
    assert "give one of them" in refused("--on", "2026-05-06", "--to", "2026-11-25")
    assert "the token says what was asked for" in refused("--token", view["token"], "--on", "2026-05-06")
    words = warm.run(
        [sys.executable, "-m", "xinliu", "show", uscc],
        env={**environment(running), "COLUMNS": "400"}, capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert "处罚决定日期在涵盖时间范围内" in words
    assert "公示期 2026-05-06 至 2027-05-06" in words


def test_the_same_file_twice_changes_nothing(running: Connection, tmp_path: Path) -> None:
    uscc = generate(700_020)
    file = write_file(tmp_path / "a.csv", [{"CF_WSH": f"重{number}号", "CF_XDR_SHXYM": uscc} for number in range(5)])
    xinliu(running, "publish", str(file), "--department", "tax", "--wait")
    before = xinliu(running, "show", uscc)
    outcome = xinliu(running, "publish", str(file), "--department", "tax", "--wait")
    assert (outcome["sent"], outcome["older"], outcome["flagged"]) == (5, 0, 0)
    after = xinliu(running, "show", uscc)
    assert after["penalties"] == before["penalties"]
    assert_view_is_the_fold(running)


def test_older_and_doubtful_rows_are_told_to_the_department(running: Connection, tmp_path: Path) -> None:
    uscc = generate(700_030)
    new = {"CF_WSH": "旧1号", "CF_XDR_SHXYM": uscc, "更新时间": "2026-06-10 08:00:00"}
    xinliu(running, "publish", str(write_file(tmp_path / "a.csv", [new])), "--department", "tax", "--wait")
    old = {**new, "CF_NR": "旧内容", "更新时间": "2026-06-09 08:00:00"}
    outcome = xinliu(running, "publish", str(write_file(tmp_path / "b.csv", [old])), "--department", "tax", "--wait")
    assert outcome["older"] == 1
    renamed = {**new, "CF_WSH": "旧1-1号", "CF_SY": "案卷旧1号", "更新时间": "2026-06-11 08:00:00"}
    outcome = xinliu(
        running, "publish", str(write_file(tmp_path / "c.csv", [renamed])), "--department", "tax", "--wait"
    )
    assert [remark["code"] for remark in outcome["remarks"]] == ["POSSIBLE_DUPLICATE"]


def test_silence_is_never_called_none(running: Connection, tmp_path: Path) -> None:
    uscc = generate(700_040)
    file = write_file(tmp_path / "a.csv", [{"CF_WSH": "静1号", "CF_XDR_SHXYM": generate(700_041)}])
    xinliu(running, "publish", str(file), "--department", "tax", "--wait")

    def states() -> dict[str, str]:
        return {line["domain"]: line["state"] for line in xinliu(running, "show", uscc)["domains"]}

    # A row of nobody that can be named, as other tests here have sent one, may be anybody's until the department decides.
    refused = xinliu(running, "refused", "list", "--department", "tax", expect=None)
    if left := [one["entry"] for one in refused if one["never_sent"]]:
        assert states()["tax"] == "未归集"
        xinliu(running, "refused", "discard", *left, "--department", "tax", "--reason", "自然人, 不在归集范围")
    assert wait_until(lambda: states()["tax"] == "无", seconds=30, every=0.5), states()["tax"]
    assert states()["water"] == "未归集", "a source that has never vouched for anything"


def test_committed_lag_is_zero_when_all_is_quiet(running: Connection) -> None:
    assert wait_until(lambda: lag(running, "xinliu-view", ["accepted", "quarantine"]) == 0, seconds=20)
    assert wait_until(lambda: lag(running, "xinliu-intake", ["records.tax"]) == 0, seconds=20)


def test_a_marker_alone_vouches_for_a_quiet_day(running: Connection) -> None:
    told = xinliu(running, "mark", "--department", "grain-reserves")
    assert len(told["markers"]) == 2

    def state() -> str:
        lines = xinliu(running, "show", generate(700_050))["domains"]
        return next(str(line["state"]) for line in lines if line["domain"] == "grain-reserves")

    assert wait_until(lambda: state() == "无", seconds=30, every=1.0)


def test_changed_entities_are_told_to_those_who_cache(running: Connection, tmp_path: Path) -> None:
    uscc = generate(700_060)
    file = write_file(tmp_path / "a.csv", [{"CF_WSH": "变1号", "CF_XDR_SHXYM": uscc}])
    xinliu(running, "publish", str(file), "--department", "tax", "--wait")

    def told() -> list[dict[str, Any]]:
        changes = [message for message in log_of(running, "changes") if message.key() == uscc.encode()]
        with Registry(running.registry) as registry:
            return [decode(registry.writer(unframe(m.value())[0]).parsed, unframe(m.value())[1]) for m in changes]

    assert wait_until(lambda: bool(told()), seconds=30, every=0.5)
    change = told()[-1]
    with connect(running.database.get_secret_value(), autocommit=True) as store:
        row = store.execute("SELECT digest_hi, digest_lo FROM credit_view WHERE uscc = %s", (uscc,)).fetchone()
    assert row is not None
    assert change["digest"] == digest_hex(*row)
