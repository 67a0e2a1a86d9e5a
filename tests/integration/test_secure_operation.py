"""What operators do on a secure stack: each command with no more rights than it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.backup.backup import restore
from deploy.deadline import wait_until
from deploy.local.layout import WORKERS
from schemas.contracts.registry import Registry
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.operations.event import Operation
from schemas.operations.log import OperationsReader
from tests.exposition import is_ready, judged
from tests.offline import assert_view_is_the_fold, view_caught_up
from tests.outboxes import database
from tests.secure import Secure, installation, xinliu
from tests.statements import framed, penalty, put


def test_the_workers_are_ready_with_the_rights_they_have(secure: Secure) -> None:
    for worker in WORKERS:
        address = f"http://127.0.0.1:{secure.stack.layout.ports.metrics(worker)}"
        assert wait_until(lambda url=address: is_ready(url), seconds=60), judged(address, "ready")


def operations(secure: Secure, kind: str) -> list[Operation]:
    """Return the events of a kind."""
    with Registry(secure.connection.registry) as registry:
        reader = OperationsReader(secure.connection.kafka, registry, principal="operator")
        try:
            return [event for event in reader.held() if event.kind == kind]
        finally:
            reader.close()


def penalties(secure: Secure, entity: int = 900_001) -> list[Any]:
    """Return what readers are shown."""
    shown = xinliu(secure, "show", generate(entity), "--json")
    assert shown.returncode == 0, shown.stderr
    return list(json.loads(shown.stdout)["penalties"])


def test_a_backup_is_put_back_with_everyones_rights(secure: Secure, tmp_path: Path) -> None:
    said = framed(secure.connection, [penalty(f"存{number}号", entity=900_001) for number in range(2)])
    put(secure.principals["department-tax"], "records.tax", list(said))
    assert wait_until(lambda: len(penalties(secure)) == 2, seconds=60, every=1.0)
    folder = tmp_path / "saved"
    assert (done := xinliu(secure, "backup", str(folder), "--json")).returncode == 0, done.stderr
    owner = secure.principals["admin"].database.get_secret_value()
    with pytest.raises(UsageError, match="others are connected"):  # the view worker, which is another role
        restore(owner, folder / "database", of="beijing", tell=lambda _: None)
    manifest = folder / "database" / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")  # as though the log that knew of it had been lost
    assert "operations vouches for" in xinliu(secure, "restore", str(folder), "--json").stderr
    words = ("--unvouched", "--reason", "日志已失")
    assert (done := xinliu(secure, "restore", str(folder), *words, "--json")).returncode == 0, done.stderr
    (event,) = operations(secure, "DATABASE_RESTORED")
    assert (event.reason, event.detail["vouched"]) == ("日志已失", False)
    assert xinliu(secure, "access", "plan").returncode == 0
    assert len(penalties(secure)) == 2
    assert wait_until(lambda: view_caught_up(secure.connection), seconds=60)
    assert assert_view_is_the_fold(secure.connection) == 2


def test_a_relay_of_an_outbox_acts_as_its_department(secure: Secure, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/cases.db"
    tax = database(url)
    tax.add(penalty("安1号", entity=900_002))
    done = xinliu(secure, "outbox", "relay", "--once", "--department", "tax", "--url", url)
    assert done.returncode == 0, done.stderr
    assert [told for _, told in tax.states()] == ["SENT"]
    assert tax.lease().state().as_of is not None, "it may vouch, too"
    tax.close()


def test_lost_records_are_passed_over_in_intakes_place(secure: Secure) -> None:
    def standing() -> dict[str, Any]:
        shown = xinliu(secure, "positions", "show", "--all", "--json")
        assert shown.returncode == 0, shown.stderr
        rows = {(row["topic"], row["partition"]): row for row in json.loads(shown.stdout)}
        assert rows["accepted", 0]["next_offset"] is not None, "the operator sees the view's position, too"
        return dict(rows["records.water", 1])

    words = ("positions", "accept-loss", "records.water", "1", "--reason", "a test")
    secure.stack.stop("worker-intake")
    put(secure.principals["department-water"], "records.water", [b"lost"], partition=1)
    admin = AdminClient(secure.principals["admin"].kafka.client({}))
    for future in admin.delete_records([TopicPartition("records.water", 1, 1)]).values():
        future.result(30)
    assert standing()["log_first"] == 1
    tries = [xinliu(secure, *words, "--json")]

    def accepted() -> bool:
        # A worker with a lasting name counts as a member of its group until its session ends.
        if tries[-1].returncode:
            assert "has members" in tries[-1].stderr
            tries.append(xinliu(secure, *words, "--json"))
        return tries[-1].returncode == 0

    assert wait_until(accepted, seconds=60, every=1.0)
    assert json.loads(tries[-1].stdout)["goes_on_at"] == standing()["next_offset"] == 1
    assert "has lost nothing" in xinliu(secure, *words).stderr
    secure.stack.up()


def test_an_operator_decides_about_refused_records_and_intake_carries_it_out(secure: Secure) -> None:
    ((partition, offset),) = put(secure.principals["department-tax"], "records.tax", [b"not avro"], partition=0)
    refused, lost = f"tax/{partition}/{offset}", "water/1/0"

    def entries() -> dict[str, str]:
        listed = xinliu(secure, "quarantine", "list", "--state", "ALL", "--json")
        return {one["entry"]: one["state"] for one in json.loads(listed.stdout)["entries"]}

    assert wait_until(lambda: {refused, lost} <= set(entries()), seconds=60, every=1.0)
    for words in (("--dry-run",), ("--wait",)):
        done = xinliu(secure, "quarantine", "redrive", refused, "--reason", "a test", *words, "--json")
        assert (done.returncode, json.loads(done.stdout)["outcomes"]) == (1, {"REFUSED": 1}), done.stderr
    done = xinliu(secure, "quarantine", "discard", lost, "--reason", "published again", "--wait", "--json")
    assert (done.returncode, json.loads(done.stdout)["outcomes"]) == (0, {"DISCARDED": 1}), done.stderr
    assert wait_until(lambda: entries()[lost] == "DISCARDED", seconds=30, every=1.0)


def test_whoever_has_a_principal_of_his_own_approves_no_plan_of_his_own(secure: Secure, tmp_path: Path) -> None:
    owner, shared = (installation(secure, name, tmp_path) for name in ("admin", "operator"))
    two = {"XINLIU_OPERATORS": "zhang,li"}
    assert xinliu(secure, "access", "apply", **owner, **two).returncode == 0
    people = {}
    for name in ("zhang", "li"):
        file = tmp_path / f"{name}.properties"
        issued = xinliu(secure, "access", "issue", f"operator-{name}", str(file), **owner, **two)
        assert issued.returncode == 0, issued.stderr
        people[name] = {**owner, "XINLIU_KAFKA_SECURITY": str(file)}  # plans and corrections take the owner's database
    (said,) = framed(secure.connection, [penalty("两人1号", entity=900_003)])
    put(secure.principals["department-tax"], "records.tax", [said])
    assert wait_until(lambda: len(penalties(secure, 900_003)) == 1, seconds=60, every=1.0)

    def done(who: dict[str, str], *words: str, expect: int) -> str:
        ran = xinliu(secure, "replay", *words, **who)
        assert ran.returncode == expect, (words, ran.stdout, ran.stderr)
        return ran.stdout if expect == 0 else ran.stderr

    zhang, li, why = people["zhang"], people["li"], ("--reason", "复核")
    made = done(zhang, "plan", "--entity", generate(900_003), *why, "--save", "--json", expect=0)
    plan = json.loads(made)["replay"]
    assert "nobody has approved it" in done(zhang, "correct", plan, "--yes", expect=2)
    assert "another operator must approve it" in done(zhang, "approve", plan, *why, expect=2)
    for user in ("wang", "operator-li"):  # by the shared principal a person may call himself as he likes
        pretended = {**shared, "LOGNAME": user}
        assert "which may be one person" in done(pretended, "approve", plan, *why, expect=2)
    done(li, "approve", plan, *why, expect=0)
    done(zhang, "correct", plan, "--yes", expect=0)
    steps = json.loads(done(zhang, "show", plan, "--json", expect=0))["steps"]
    assert [(step["kind"].removeprefix("REPLAY_"), step["by"].partition("@")[0]) for step in steps] == [
        ("PLANNED", "operator-zhang"), ("APPROVED", "operator-li"), ("RUNNING", "operator-zhang"), ("DONE", "operator-zhang"),
    ]  # fmt: skip
    assert xinliu(secure, "access", "apply", **owner).returncode == 0, "the stack's own principals are left"
