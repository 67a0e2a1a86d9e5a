"""Command `xinliu demo-four`: four real provinces on this machine that share records, as a person would type it."""

from __future__ import annotations

import csv
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time
from typing import Annotated, Any

import psycopg
import typer

from deploy.commands.tour import Tour
from deploy.deadline import wait_until
from deploy.local.provinces import Provinces
from schemas.catalogue import Department, load
from schemas.console.terminal import Console
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate

__all__ = ["demo_four", "mount"]

_NAMES = ("beijing", "tianjin", "hebei", "shanxi")
_ALL = ",".join(_NAMES)
_PREFIX = "demo"
_PATIENCE = 120.0
"""Maximum seconds until a province has a published statement; far more than it needs."""

_ENTITY = generate(7_410_001, division="120101")
_NAME = "天津海河源商贸有限公司"


def demo_four(
    keep: Annotated[bool, typer.Option("--keep", help="Leave servers, data and files as they are at the end.")] = False,
    secure: Annotated[bool, typer.Option("--secure", help="With TLS, passwords and rights for everyone.")] = False,
) -> None:
    """Show the exchange: four provinces, a penalty that reaches them all, what follows it, and a link cut and healed."""
    folder = Path(tempfile.mkdtemp(prefix="xinliu-four-"))
    provinces = Provinces(_NAMES, _PREFIX)
    provinces.reset()
    tour = _Tour(Console(), folder, provinces)
    try:
        tour.walk(secure=secure)
    finally:
        if keep:
            tour.say(
                f"All four still run: try `xinliu --stack {_PREFIX}-tianjin show {_ENTITY}`; the files are in {folder}."
            )
            tour.note(f"Stop them and delete their data with `xinliu --stack {_PREFIX} reset --provinces {_ALL}`.")
        else:
            provinces.reset()
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()


class _Tour(Tour):
    """The exchange."""

    def __init__(self, console: Console, folder: Path, provinces: Provinces) -> None:
        super().__init__(console)
        self._folder, self._provinces = folder, provinces

    def walk(self, *, secure: bool) -> None:
        self.say(
            "1. Four provinces on this machine, each with Kafka, schema registry, PostgreSQL and one worker process."
        )
        started = monotonic()
        self.run("up", "--provinces", _ALL, *(["--secure"] if secure else []), stack=_PREFIX)
        self.note(
            f"ready after {monotonic() - started:.0f} s; {self._provinces.memory() / 2**30:.2f} GiB of memory (PSS)"
        )
        self.say(
            "2. The tax authorities of all four vouch that they have published everything: their 无 can be relied on."
        )
        for name in _NAMES:
            self.run("mark", "--department", "tax", stack=_stack(name))
        self.say(f"3. {_NAME} is registered in Tianjin. Nothing else is known of it; its 互认版 there:")
        self.run(
            "publish", self._registration(), "--department", "market-regulation", "--wait", stack=_stack("tianjin")
        )
        self._mutual()
        self.say("4. Beijing's tax authority publishes two penalties on it. Who has them, and how long after Beijing?")
        fines = self._penalties("0.2")
        self._published("publish", fines, "--department", "tax", "--wait", records=2)
        self._mutual()
        self.run("exchange", "status", stack=_stack("beijing"), codes=(0, 1))
        self.say("5. A correction (更正) of the first: the fine was 0.5万元, not 0.2万元.")
        corrected = self._penalties("0.5")
        self._published(
            "change", "correct", "--department", "tax", "--from", corrected, "--number", _NUMBERS[0], "--wait"
        )
        self.say(
            "6. Shanxi is cut off: its servers are down. What Beijing publishes meanwhile reaches the others as before."
        )
        self.run("down", stack=_stack("shanxi"))
        self._published(
            "change",
            "repair",
            "--department",
            "tax",
            "--from",
            corrected,
            "--number",
            _NUMBERS[0],
            "--wait",
            without="shanxi",
        )
        self.run("exchange", "links", stack=_stack("beijing"), codes=(1,))
        self.say("7. Shanxi is back, and catches up by itself.")
        back = monotonic()
        self.run("up", stack=_stack("shanxi"))
        self._has_caught_up("shanxi")
        self.note(f"山西 has all that Beijing has, {monotonic() - back:.1f} s after `up` was typed")
        self.run("exchange", "links", stack=_stack("beijing"), codes=(0, 1))
        self.say("8. The second penalty is revoked (撤销): erased in all four, as if it had never been.")
        self._published(
            "change", "revoke", "--department", "tax", "--from", corrected, "--number", _NUMBERS[1], "--wait"
        )
        self.say("9. The 互认版 after all that: repaired and revoked are shown nowhere.")
        self._mutual()
        self.run("exchange", "status", stack=_stack("beijing"), codes=(0, 1))
        self.run("status", "--provinces", _ALL, stack=_PREFIX)

    def _mutual(self) -> None:
        self.run("show", _ENTITY, "--edition", "mutual", stack=_stack("tianjin"))

    def _published(self, *words: str, records: int = 1, without: str | None = None) -> None:
        """Run a command of Beijing's and print how long after Beijing's broker accepted it each province shows it."""
        names = [name for name in _NAMES if name != without]
        readers = {name: _reader(self._provinces, name) for name in names}
        with ExitStack() as watching:
            watches = {name: watching.enter_context(_Watch(readers[name])) for name in names}
            self.run(*words, stack=_stack("beijing"))
            news = _newest(readers["beijing"], records)
            for name, watch in watches.items():
                watch.wait_for(news, name)
        for name, watch in watches.items():
            milliseconds = max(1000 * (watch.seen[key] - known) for key, known in news.items())
            self.note(
                f"  {load().province(name).name_zh}: visible {milliseconds:,.0f} ms after Beijing had accepted it"
            )

    def _has_caught_up(self, name: str) -> None:
        news = _newest(_reader(self._provinces, "beijing"), 2)
        with _Watch(_reader(self._provinces, name)) as watch:
            watch.wait_for(news, name)

    def _registration(self) -> str:
        authority, name = _department("tianjin", "market-regulation").authorities[0]
        row = {
            "经营主体名称": _NAME,
            "统一社会信用代码": _ENTITY,
            "经营主体类型": "企业",
            "登记机关": name,
            "登记机关代码": authority,
            "成立日期": "2018-05-21",
            "更新时间": f"{datetime.now(UTC):%Y-%m-%d} 00:00:00",
        }
        return self._written("registration.csv", [row])

    def _penalties(self, fine: str) -> str:
        """Write the department's own file, with this fine in its first row."""
        authority, name = _department("beijing", "tax").authorities[0]
        rows = [
            {
                "CF_XDR_MC": _NAME,
                "CF_XDR_SHXYM": _ENTITY,
                "CF_XDR_LB": "法人及非法人组织",
                "CF_WSH": number,
                "CF_WFXW": "未按规定期限办理纳税申报",
                "CF_SY": "当事人未在规定期限内申报当期税款",
                "CF_YJ": "《中华人民共和国税收征收管理法》第六十二条",
                "CF_CFLB": "罚款",
                "CF_NR": f"罚款{money}万元",
                "CF_NR_FK": money,
                "CF_JDRQ": "2026-03-02",
                "CF_YXQ": "2099-12-31",
                "CF_CFJG": name,
                "CF_CFJGDM": authority,
                "CF_SJLY": name,
                "CF_SJLYDM": authority,
                "失信程度": "一般",
                "更新时间": f"{datetime.now(UTC):%Y-%m-%d} 00:00:00",
            }
            for number, money in zip(_NUMBERS, (fine, "1.0"), strict=True)
        ]
        return self._written(f"penalties-{fine}.csv", rows)

    def _written(self, name: str, rows: Sequence[Mapping[str, str]]) -> str:
        path = self._folder / name
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return str(path)


_NUMBERS = ("京税罚〔2026〕101号", "京税罚〔2026〕102号")

_STATEMENTS = (
    "SELECT record_id, version, status, known_at FROM report.history WHERE uscc = %s AND province = 'beijing'"
    " ORDER BY version DESC"
)

_Key = tuple[str, int, str]


@dataclass
class _Watch:
    """Polls, while the context lasts, which of Beijing's statements on the entity a province shows."""

    database: str

    def __enter__(self) -> _Watch:
        self.seen: dict[_Key, float] = {}
        """Unix time of the first sight of each."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def wait_for(self, news: Mapping[_Key, float], name: str) -> None:
        """Wait until all of these are there. Raises UsageError if they do not arrive."""
        if not wait_until(lambda: news.keys() <= self.seen.keys(), seconds=_PATIENCE, every=0.05):
            raise UsageError(f"{name} does not have it after {_PATIENCE:.0f} s; the demo stops here")

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        with psycopg.connect(self.database, autocommit=True) as reader:
            while not self._over.is_set():
                for key in _held(reader):
                    self.seen.setdefault(key, time())
                self._over.wait(0.01)


def _held(reader: psycopg.Connection[Any]) -> dict[_Key, float]:
    rows = reader.execute(_STATEMENTS, [_ENTITY]).fetchall()
    return {(str(record), version, status): known_at.timestamp() for record, version, status, known_at in rows}


def _newest(database: str, count: int) -> dict[_Key, float]:
    """Return the last statements, each with the Unix time at which Beijing's broker accepted it."""
    with psycopg.connect(database, autocommit=True) as reader:
        return dict(list(_held(reader).items())[:count])


def _reader(provinces: Provinces, name: str) -> str:
    connection = provinces.stacks[name].connection()
    return (connection.reader_database or connection.database).get_secret_value()


def _department(province: str, key: str) -> Department:
    return load().department(province, key)


def _stack(name: str) -> str:
    return f"{_PREFIX}-{name}"


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    app.command()(demo_four)
