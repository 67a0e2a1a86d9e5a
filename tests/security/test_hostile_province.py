"""A province whose key was stolen, through real intake, broker and view: it takes over nothing, and what it said is
cut off again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from schemas.catalogue import load
from schemas.contracts.registry import Registry
from schemas.exchange.keys import Keyring, Signer, retire
from schemas.identifiers.uscc import generate
from schemas.store.database import connect
from streams.exchange.incoming.stage import ReceivingStage
from streams.forwarding.forwarder import Forwarder
from streams.kafka.ranges import Logs
from tests.exchanges import Sharing, as_run, entities, keys, of_province, shared
from tests.offline import view_caught_up
from tests.replay_commands import replay
from tests.secure import Secure, installation, xinliu
from tests.statements import framed, penalty, put, registered, registration, state

ENTITIES = entities(2, 6, first=830_500)
OURS, OTHER, THIRD, FOURTH, *_ = ENTITIES
YESTERDAY = date.today() - timedelta(days=1)


@dataclass
class Hostile:
    """Tianjin, as whoever has its key would be: what it signs goes through intake's own stage into the secure
    cluster."""

    secure: Secure
    stage: ReceivingStage
    origin: Sharing
    ring: Path
    ids: dict[str, int]
    read: int = 0
    sent: int = 0

    def push(self) -> None:
        """Close the run, have intake read what a link has brought, and wait until the view has folded it."""
        self.origin.checkpoint()
        run = as_run(self.origin.log[self.sent :], self.ids, first=self.read)
        self.sent, self.read = len(self.origin.log), run.next_offset
        self.stage([run])
        assert wait_until(lambda: view_caught_up(self.secure.connection), seconds=60)

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Ask the store, as its owner."""
        owner = self.secure.principals["admin"].database.get_secret_value()
        with connect(owner, autocommit=True) as store:
            return store.execute(query, values).fetchall()


@pytest.fixture(scope="module")
def hostile(secure: Secure, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    intake, ring = secure.principals["intake"], tmp_path_factory.mktemp("hostile") / "keyring"
    signer = keys(ring, "tianjin")["tianjin"]
    ids = {name: registered(intake.registry, name) for name in ("xinliu.Statement", "xinliu.Checkpoint")}
    facts = Logs(secure.connection.kafka).describe(["accepted", "quarantine"])
    with Registry(intake.registry) as registry:
        partitions = {f"{name}_partitions": facts[name].partitions for name in ("accepted", "quarantine")}
        forwarder = Forwarder(intake.kafka, registry, **partitions)
        stage = ReceivingStage(registry, load(), ("tianjin",), Keyring(ring), forwarder)
        yield Hostile(secure, stage, Sharing("tianjin", signer, partition=2), ring, ids)


def ours(secure: Secure) -> None:
    """Let Beijing's registry and its tax office speak of the entity."""
    mine = registration(entity=OURS, name="京信行业协会", since=date(2010, 6, 10))
    put(
        secure.principals["department-market-regulation"],
        "records.market-regulation",
        framed(secure.connection, [mine]),
    )
    fined = penalty("敌0号", entity=OURS)
    put(secure.principals["department-tax"], "records.tax", framed(secure.connection, [fined]))
    assert wait_until(lambda: shown(secure, OURS)["penalties"] != [], seconds=60, every=0.5)


def shown(secure: Secure, entity: int, *options: str) -> dict[str, Any]:
    done = xinliu(secure, "show", generate(entity), "--json", *options)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_name_and_place_of_an_entity_that_ours_holds_are_contested_and_an_operator_decides(hostile: Hostile) -> None:
    secure, uscc = hostile.secure, generate(OURS)
    ours(secure)
    for content in ({"since": YESTERDAY}, {"since": YESTERDAY, "until": YESTERDAY + timedelta(days=1)}):
        taken = of_province(
            "tianjin", registration(entity=OURS, name="已注销的公司(假)", version=len(content), **content)
        )
        hostile.origin.say(taken, epoch=len(content))
        hostile.push()
        view = shown(secure, OURS)
        who = view["registered"]
        assert (view["name"], who["province"], who["since"], who["until"]) == (
            "京信行业协会",
            "beijing",
            "2010-06-10",
            None,
        )
        assert [(one["province"], one["name"]) for one in who["contested"]] == [("tianjin", "已注销的公司(假)")]
        assert hostile.ask("SELECT here FROM report.mutual_place(%s)", uscc) == [(True,)], (
            "and it is served here as before"
        )
        entity = "SELECT name, province, contested FROM report.entity WHERE uscc = %s"
        assert hostile.ask(entity, uscc) == [("京信行业协会", "beijing", True)]
    assert "登记地有争议" in xinliu(secure, "show", uscc).stdout

    hostile.origin.say(
        of_province("tianjin", registration(entity=OURS, name="假", version=3, since=YESTERDAY)), epoch=3
    )
    hostile.push()
    listed = xinliu(secure, "exchange", "contested", "--json")
    assert (listed.returncode, [one["uscc"] for one in json.loads(listed.stdout)]) == (1, [uscc])
    settle = ("exchange", "settle", uscc, "--reason", "两地登记机关已核")
    assert "in hebei no registration" in xinliu(secure, *settle, "--for", "hebei").stderr
    for province, name in (("tianjin", "假"), ("beijing", "京信行业协会")):
        done = xinliu(secure, *settle, "--for", province)
        assert done.returncode == 0, done.stderr
        assert wait_until(lambda told=name: shown(secure, OURS)["name"] == told, seconds=30, every=0.5)
        assert xinliu(secure, "exchange", "contested").returncode == 0


def test_what_no_department_of_ours_may_say_waits_and_enters_no_view(hostile: Hostile) -> None:
    bad = [
        {**shared("tianjin", "敌1号", entity=OTHER), "version": 2**63 - 1},
        shared("tianjin", "敌2号", entity=OTHER, fine=Decimal(-5)),
        of_province("tianjin", registration(entity=OTHER, name="未来", since=date(2999, 12, 31))),
        of_province("tianjin", registration(entity=OTHER, name="甲\x1b[2J;乙|丙")),
    ]
    for one in bad:
        hostile.origin.say(one, epoch=9)
    hostile.origin.say(shared("tianjin", "敌3号", entity=OTHER), epoch=999_999_999_999_999_999)
    hostile.push()
    uscc = generate(OTHER)
    assert hostile.ask("SELECT count(*) FROM record WHERE uscc = %s", uscc) == [(0,)]
    told = hostile.ask("SELECT findings FROM quarantine WHERE uscc = %s ORDER BY quarantine_offset", uscc)
    found = [{one["code"] for one in findings} for (findings,) in told]
    expected = ["VERSION_AHEAD", "NEGATIVE_AMOUNT", "REGISTERED_IN_FUTURE", "CONTROL_CHARACTER", "EXCHANGE_EPOCH"]
    assert len(found) == len(expected)
    assert all(code in codes for code, codes in zip(expected, found, strict=True)), found


def test_two_operators_cut_off_a_key_and_the_true_province_goes_on_by_another(hostile: Hostile, tmp_path: Path) -> None:
    secure, origin, stolen = hostile.secure, hostile.origin, hostile.origin.signer.key_id
    true, other = shared("tianjin", "真1号", entity=THIRD), shared("tianjin", "真2号", entity=FOURTH)
    (origin.signer,) = keys(hostile.ring, "tianjin").values()  # the true province, by a key that nobody stole
    origin.say(true, epoch=20)
    origin.say(other, epoch=20)
    hostile.push()
    honest, origin.signer = origin.signer, hostile_signer(hostile, stolen)
    begun = datetime.now(UTC)
    origin.say(state(true, "REVOKED", version=2), epoch=20)
    origin.say(shared("tianjin", "伪造1号", entity=FOURTH), epoch=20)
    hostile.push()
    numbers = "SELECT penalty_document_number FROM record WHERE province = 'tianjin' AND status = 'IN_FORCE' AND uscc = ANY(%s) ORDER BY 1"
    about = [generate(THIRD), generate(FOURTH)]
    assert hostile.ask(numbers, about) == [("伪造1号",), ("真2号",)]

    retire(hostile.ring, "tianjin", stolen, begun, compromised=True)
    chosen = (
        "--province",
        "tianjin",
        "--cut-off",
        "--key",
        stolen,
        "--since",
        begun.isoformat(),
        "--reason",
        "密钥被盗",
    )
    plan = replay(secure.connection, "plan", *chosen, "--save", "--json").told["replay"]
    owner = installation(secure, "admin", tmp_path)
    assert xinliu(secure, "access", "apply", **owner).returncode == 0, "from now on two people are asked for"
    try:
        alone = replay(secure.connection, "correct", plan, "--yes", "--json")
    finally:
        assert xinliu(secure, "access", "apply", **owner, XINLIU_APPROVAL="false").returncode == 0
    assert (alone.code, "nobody has approved it" in alone.refused) == (2, True)
    assert hostile.ask(numbers, about) == [("伪造1号",), ("真2号",)]
    done = replay(secure.connection, "correct", plan, "--yes", "--json")
    assert done.code == 1, "something differs, and is told"
    assert hostile.ask(numbers, about) == [("真2号",)]
    assert hostile.ask("SELECT count(*) FROM applied_checkpoint WHERE province = 'tianjin'") == [(0,)], (
        "nothing is vouched for"
    )
    waiting = (
        "SELECT DISTINCT uscc FROM report.foreign_pending WHERE province = 'tianjin' AND uscc = ANY(%s) ORDER BY 1"
    )
    assert hostile.ask(waiting, about) == [(one,) for one in sorted(about)], "of whom it spoke is 待核 and not 无"

    origin.say(shared("tianjin", "伪造2号", entity=FOURTH), epoch=21)
    hostile.push()
    assert hostile.ask(numbers, about) == [("真2号",)], "the key is believed no more"
    origin.signer = honest
    origin.say({**true, "version": true["version"] + 5}, epoch=22, mend=True)
    hostile.push()
    assert hostile.ask(numbers, about) == [("真1号",), ("真2号",)]
    assert hostile.ask("SELECT count(*) FROM applied_checkpoint WHERE province = 'tianjin'") == [(1,)]


def hostile_signer(hostile: Hostile, key_id: str) -> Signer:
    """Return the signer of the stolen key again."""
    return Signer.from_file(hostile.ring.parent / f"{hostile.ring.name}-private" / f"tianjin.{key_id}.key.json")
