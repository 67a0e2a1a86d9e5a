"""`xinliu show --edition mutual`: what a person sees at 80 columns, what a machine reads, and who is sent elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
import typer
from rich.cells import cell_len
from typer.testing import CliRunner, Result

from consumers.commands.show import show
from schemas.calendar.periods import china_day
from schemas.catalogue import load
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from streams.projection.positions import load_catalogue
from tests.foreign import checkpoint, fold, foreign, vouch, wait_elsewhere
from tests.statements import listing, penalty, registration

Store = psycopg.Connection[Any]
Shown = Callable[..., Result]
ENTITY, HERE, THERE, NOBODY = 61, generate(61), generate(62), "91440000" + generate(63)[8:]
RECENT = china_day(datetime.now(UTC)) - timedelta(days=30)
TABLES = "record, record_history, former_entity, credit_view, position, source, input_progress, outbox"


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """Servers of this module's own: what it writes is committed."""
    return own_stack


@pytest.fixture(scope="module")
def shown(stack: Connection, owner: Store) -> Iterator[Shown]:
    """The command, on a database in which Hebei holds records of an entity of Beijing, and Shanxi has never been heard."""
    now = datetime.now(UTC).replace(microsecond=0)
    with owner.transaction():
        load_catalogue(owner, load(), "beijing")
        for topic in ("accepted", "quarantine"):
            owner.execute("INSERT INTO position VALUES (%s, 'id-of-' || %s, 0, 1000000)", (topic, topic))
        vouch(owner, now)
        for province in ("tianjin", "hebei"):
            checkpoint(owner, province, data_as_of=now - timedelta(minutes=2), made_at=now)
        fold(
            owner,
            [
                registration(uscc=HERE, since=date(2024, 5, 1), name="北京甲商贸有限公司"),
                foreign(registration(uscc=THERE, province="hebei", since=date(2025, 3, 1)), "hebei"),
                penalty("京税罚〔2026〕1号", entity=ENTITY, decided_on=RECENT),
                foreign(
                    penalty("冀市监罚〔2026〕7号", entity=ENTITY, key="market-regulation", decided_on=RECENT), "hebei"
                ),
                foreign(
                    penalty("[/bold]8号", entity=ENTITY, key="court", facts="见[red]卷[/]", decided_on=RECENT), "hebei"
                ),
                foreign(listing("冀安3号", entity=ENTITY, key="emergency", listed_on=RECENT), "hebei"),
            ],
        )
        wait_elsewhere(owner, "hebei", HERE, tax=2)
    app = typer.Typer()
    app.command()(show)

    def invoke(*words: str, columns: int = 80) -> Result:
        return CliRunner().invoke(app, words, obj=lambda: stack, env={"COLUMNS": str(columns), "TERM": "dumb"})

    yield invoke
    owner.execute(f"TRUNCATE {TABLES}, applied_checkpoint, foreign_domain, foreign_digest, foreign_pending")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_person_reads_a_matrix(shown: Shown, columns: int) -> None:
    done = shown(HERE, "--edition", "mutual", columns=columns)
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if not line.startswith("token")]
    assert max(map(cell_len, lines)) <= columns
    cells = {line.split("│")[0].strip(): [one.strip() for one in line.split("│")[1:]] for line in lines if "│" in line}
    assert len(cells) == 17, "a row for each domain, none of them broken"
    assert cells["税务"] == ["有 1", "无", "待核 2", "未归集"]
    assert cells["应急"] == ["无", "无", "有 1", "未归集"]
    assert cells["市场监管(含教育、商务)"] == ["无", "无", "有 1", "未归集"]
    assert "由北京市提供" in done.output
    assert "尚未收到该省市的完整检查点: 全部领域" in done.output
    assert "河北省  行政处罚 冀市监罚〔2026〕7号" in done.output
    assert "行政处罚 [/bold]8号" in done.output
    assert "见[red]卷[/]" in done.output, "what a record says is text"


def test_a_machine_reads_all_of_it_and_the_token_gives_it_again(shown: Shown) -> None:
    done = shown(HERE, "--edition", "mutual", "--json")
    view = json.loads(done.output)
    assert (view["edition"], view["served_by"], view["name"]) == ("mutual", "beijing", "北京甲商贸有限公司")
    assert {row["province"] for row in view["penalties"]} == {"beijing", "hebei"}
    assert {row["authority_name"] for row in view["listings"]}
    again = json.loads(shown(HERE, "--token", view["token"], "--json").output)
    cut = {"read_at": None, "token": None}
    assert again | cut == view | cut
    own = json.loads(shown(HERE, "--json").output)
    assert (own["edition"], [row["province"] for row in own["penalties"]], own["listings"]) == ("own", ["beijing"], [])
    assert {line["state"] for line in own["domains"] if line["domain"] == "emergency"} == {"无"}
    on = json.loads(shown(HERE, "--edition", "mutual", "--on", RECENT.isoformat(), "--json").output)
    assert {row["province"] for row in on["penalties"]} == {"beijing", "hebei"}


def test_who_is_registered_elsewhere_is_sent_there(shown: Shown) -> None:
    done = shown(THERE, "--edition", "mutual", "--json")
    told = json.loads(done.output)
    assert (told["served_by"], told["since"], told["province_source"]) == ("hebei", "2025-03-01", "REGISTRY")
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == 1
    assert "河北省(hebei)" in str(done.exception)
    assert "\n" not in str(done.exception)
    nobody = shown(NOBODY, "--edition", "mutual", "--json")
    assert json.loads(nobody.output)["served_by"] is None
    assert shown(THERE, "--json").exit_code == 0, "the own edition speaks of anybody"


@pytest.mark.parametrize("words", [("--as-of", "2026-11-01"), ("--sources",)])
def test_what_cannot_be_told_is_said_plainly(shown: Shown, words: tuple[str, ...]) -> None:
    done = shown(HERE, "--edition", "mutual", *words)
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_code == 2
    assert words[0] in str(done.exception)


def test_a_token_knows_its_edition(shown: Shown) -> None:
    mutual, own = (json.loads(shown(HERE, "--edition", one, "--json").output)["token"] for one in ("mutual", "own"))
    for edition, token in (("own", mutual), ("mutual", own)):
        assert isinstance(shown(HERE, "--edition", edition, "--token", token).exception, UsageError)
    assert isinstance(shown(THERE, "--token", mutual).exception, UsageError), "nor is it another entity's"
