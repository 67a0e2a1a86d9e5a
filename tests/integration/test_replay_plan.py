"""`xinliu replay plan`: what a replay would be, counted without touching anything, and refused where the log lost what it needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.kafka.ranges import Logs
from tests.erasing import published
from tests.replay_commands import replay
from tests.statements import framed, listing, penalty, put
from tests.workers import workers

SAID = [*(penalty(f"划{n}", entity=n) for n in range(8)), penalty("划1", version=2, entity=1), listing("划L", entity=3)]


@pytest.fixture(scope="module")
def filled(own_stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """Servers of our own, with statements that are folded, one that is refused, and the workers gone again."""
    with workers(own_stack, tmp_path_factory.mktemp("workers"), "intake", "view"):
        put(own_stack, "records.tax", framed(own_stack, [{**penalty("划X", entity=9), "version": -1}]))
        published(own_stack, SAID)
    yield own_stack


def ends(connection: Connection) -> object:
    """What every topic and table that a plan could touch holds."""
    logs = Logs(connection.kafka).ends([("operations", 0), ("quarantine", 0), *(("accepted", p) for p in range(4))])
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        rows = store.execute("SELECT (SELECT count(*) FROM xinliu.replay), (SELECT count(*) FROM outbox)").fetchone()
    return dict(logs), rows


@pytest.mark.parametrize(
    ("words", "kind", "counted"),
    [
        (("--all",), "REBUILD", (10, 9, 8)),
        (("--department", "tax"), "CORRECT", (10, 9, 8)),
        (("--department", "finance"), "CORRECT", (0, 0, 0)),
        (("--domain", "tax"), "CORRECT", (10, 9, 8)),
        (("--entity", generate(1)), "CORRECT", (2, 1, 1)),
        (("--entity", generate(3), "--entity", generate(4)), "CORRECT", (3, 3, 2)),
        (("--since", "2026-01-01"), "CORRECT", (10, 9, 8)),
        (("--until", "2026-01-01"), "CORRECT", (0, 0, 0)),
        (("--offsets", "0", "--offsets", "1", "--offsets", "2:0-", "--offsets", "3"), "CORRECT", (10, 9, 8)),
        (("--province", "hebei"), "CORRECT", (0, 0, 0)),
        (("--quarantine",), "REDRIVE", (1, 1, 1)),
        (("--quarantine", "--code", "NOT_AVRO"), "REDRIVE", (0, 0, 0)),
        (("--to", "hebei", "--all"), "REPUSH", (0, 0, 0)),
        (("--to", "hebei", "--bucket", "17/8"), "REPUSH", (0, 0, 0)),
    ],
)
def test_a_plan_counts_and_touches_nothing(
    filled: Connection, words: tuple[str, ...], kind: str, counted: tuple[int, int, int]
) -> None:
    before = ends(filled)
    told = replay(filled, "plan", *words, "--json").told
    figures = told["figures"]
    assert told["kind"] == kind
    assert (figures["events"], figures["records"], figures["entities"]) == counted
    assert len(figures["first_entities"]) == counted[2]
    assert (told["replay"], told["dry_run"]) == (None, True)
    assert figures["rate_from"].startswith("assumed")
    assert figures["disk_free"] > 0
    assert figures["disk_free_from"] == "the file system of the database's folder"
    assert (figures["disk_needed"] > 0) == (kind == "REBUILD" or (kind == "CORRECT" and counted[1] > 0))
    assert ends(filled) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to replay"),
        (("--all", "--domain", "tax"), "not both"),
        (("--domain", "alchemy"), "alchemy"),
        (("--department", "alchemy"), "no department 'alchemy'"),
        (("--entity", "91110000M0000000"), "no unified social credit code"),
        (("--since", "yesterday"), "is no time"),
        (("--since", "2026-02-01", "--until", "2026-01-01"), "nothing lies between"),
        (("--offsets", "1:9-3"), "nothing lies between"),
        (("--offsets", "7"), "partitions 0 to 3"),
        (("--offsets", "1:5000000-5000001"), "the first missing offset is 5000000"),
        (("--code", "NOT_AVRO", "--domain", "tax"), "--quarantine"),
        (("--to", "guangdong", "--all"), "no other province"),
        (("--province", "beijing"), "no other province"),
        (("--bucket", "300/8", "--to", "hebei"), "NUMBER/BITS"),
        (("--domain", "tax", "--save"), "--reason"),
    ],
)
def test_what_makes_no_plan_is_refused_in_one_line(filled: Connection, words: tuple[str, ...], message: str) -> None:
    answer = replay(filled, "plan", *words)
    assert answer.code == 2
    assert message in answer.refused
    assert "\n" not in answer.refused


def test_a_saved_plan_is_an_event_and_is_listed_and_shown(filled: Connection) -> None:
    saved = replay(filled, "plan", "--entity", generate(1), "--reason", "目录改正", "--save", "--json").told["replay"]
    listed = replay(filled, "list", "--json").told
    assert [(one["replay"], one["kind"], one["state"], one["reason"]) for one in listed] == [
        (saved, "CORRECT", "PLANNED", "目录改正")
    ]
    shown = replay(filled, "show", saved[:5], "--json").told
    assert shown["plan"]["events"] == 2
    assert [step["kind"] for step in shown["steps"]] == ["REPLAY_PLANNED"]
    text = replay(filled, "show", saved).text
    assert generate(1) in text
    assert "目录改正" in text
    assert saved in replay(filled, "list").text
    assert "no replay is called" in replay(filled, "show", "nothing").refused


def configure(connection: Connection, policy: str) -> None:
    """Change what may be taken from `accepted`."""
    entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, "accepted", incremental_configs=[entry])
    admin = AdminClient(connection.kafka.client({}))
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def test_a_log_that_lost_its_beginning_is_named(filled: Connection) -> None:
    partition = next(
        p for (_, p), end in Logs(filled.kafka).ends([("accepted", p) for p in range(4)]).items() if end > 2
    )
    configure(filled, "compact,delete")
    try:
        admin = AdminClient(filled.kafka.client({}))
        for future in admin.delete_records([TopicPartition("accepted", partition, 2)]).values():
            future.result(30)
    finally:
        configure(filled, "compact")
    answer = replay(filled, "plan", "--all")
    assert answer.code == 2
    assert f"accepted/{partition} begins at offset 2: the first missing offset is 0" in answer.refused
