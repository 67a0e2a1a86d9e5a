"""docs/operations.md, situation by situation: the commands are read from the page and run on real servers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.deadline import wait_until
from deploy.local.layout import ANY_PORTS
from deploy.local.stack import Stack
from schemas.catalogue import load
from schemas.exchange.keys import make_key
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection, Exchange
from schemas.store.database import connect
from tests import servers, warm
from tests.chaos.test_full_disk import on_a_small_file_system
from tests.offline import assert_view_is_the_fold, ends_of, view_caught_up
from tests.statements import framed, penalty, put
from tests.unit.importing import penalty as row
from tests.unit.importing import write

pytestmark = pytest.mark.timeout(400)

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operations.md"


def situations() -> dict[str, str]:
    """Return the console blocks of the page by heading."""
    sections = re.split(r"^## (?=\d)", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    return {
        section.partition("\n")[0]: "".join(re.findall(r"^```console\n(.*?)^```", section, re.M | re.S))
        for section in sections
    }


def test_there_are_seven_and_each_has_commands() -> None:
    assert [heading.partition(".")[0] for heading in situations()] == list("1234567")
    assert all(block.startswith("$ ") for block in situations().values())


class House:
    """A local stack of this module's own with its workers, and a folder that the commands of a situation are run in."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        (folder / "bin").mkdir(parents=True)
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith("XINLIU_")}
        self.environment["XINLIU_HOME"] = str(stack.known.home_folder)
        if stack.known.cache is not None:
            self.environment["XINLIU_CACHE"] = str(stack.known.cache)
        self.environment["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
        self.script("wait-until-caught-up", f"exec {folder}/bin/wait-until-caught-up\n")

    @property
    def connection(self) -> Connection:
        """How to reach it."""
        return self.stack.connection()

    def script(self, name: str, text: str) -> None:
        """Write a program that a command line of the page names."""
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def run(self, block: str, **more: str) -> None:
        """Run the commands of a block, one after the other in one shell; each must end as the page says."""
        lines = ["set -u"]
        for line in block.splitlines():
            if not line.startswith("$ "):
                continue
            command, _, remark = line.removeprefix("$ ").partition("    # exit ")
            good = remark.split(" or ") if remark else ["0"]
            check = " && ".join(f"[ $code -ne {code} ]" for code in good)
            shown = shlex.quote(command)
            lines += [
                f"echo '$' {shown}", command, f"code=$?; if {check}; then echo exit $code of {shown} >&2; exit 99; fi",
            ]  # fmt: skip
        ran = subprocess.run(
            ["bash", "-c", "\n".join(lines)], cwd=self.folder, env=self.environment | more, capture_output=True, text=True,
            check=False, timeout=380,
        )  # fmt: skip
        assert ran.returncode == 0, f"{ran.stdout[-6000:]}\n{ran.stderr[-3000:]}"


@pytest.fixture(scope="module")
def stack(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with its workers, which shares its records."""
    if backend != "local":
        pytest.skip("the runbook is of processes on this machine")
    known = servers.local_stack("runbook")
    if known.layout.folder.exists():
        known.reset()
    keys = tmp_path_factory.mktemp("keys")
    try:
        with servers.starting():
            known.up(province="beijing", base_port=ANY_PORTS, workers=False)
        key = make_key("beijing", keys, keys / "ring")
        known.share(Exchange(signing_key=key, keyring=keys / "ring"))
        known.up()
        yield known
    finally:
        if known.layout.folder.exists():
            known.reset()


@pytest.fixture
def house(stack: Stack, tmp_path: Path) -> Iterator[House]:
    """The stack and a folder for one situation; all its workers run."""
    stack.up()
    made = House(stack, tmp_path / "desk")
    programs = made.folder / "bin"
    with (
        warm.in_shell(programs / "xinliu", "xinliu", "--stack", stack.name),
        warm.in_shell(programs / "wait-until-caught-up", "tests.caught_up", stack.name),
    ):
        yield made


def refused(connection: Connection, *numbers: str, key: str, first: int) -> list[str]:
    """Publish records of a category that the catalogue does not know, past the SDK; return the names of their entries."""
    values = [penalty(number, entity=first + n, key=key, categories="训诫") for n, number in enumerate(numbers)]
    places = put(connection, f"records.{key}", list(framed(connection, values)), partition=0)
    assert wait_until(lambda: len(entries(connection, key)) >= len(numbers), seconds=60)
    return [f"{key}/{partition}/{offset}" for partition, offset in places]


def entries(connection: Connection, key: str) -> list[str]:
    """Return the names of a department's entries."""
    with connect(connection.database.get_secret_value(), autocommit=True) as store:
        rows = store.execute('SELECT partition, "offset" FROM quarantine WHERE department = %s', (key,)).fetchall()
    return [f"{key}/{partition}/{offset}" for partition, offset in rows]


def resent(folder: Path, name: str, *numbers: str, key: str, first: int) -> None:
    """Write a file of these records as the department sends it, with nothing wrong in it."""
    authority, unit = load().department("beijing", key).authorities[0]
    own = {"CF_CFJG": unit, "CF_CFJGDM": authority, "CF_SJLY": unit, "CF_SJLYDM": authority}
    write(folder / name, [row(CF_WSH=one, CF_XDR_SHXYM=generate(first + n), **own) for n, one in enumerate(numbers)])


def proven(house: House) -> None:
    """Hold the view against the log."""
    assert wait_until(lambda: view_caught_up(house.connection), seconds=120, every=0.5)
    assert_view_is_the_fold(house.connection)


def block(number: int) -> str:
    """Return the commands of a situation."""
    return next(text for heading, text in situations().items() if heading.startswith(f"{number}."))


def test_a_rule_was_wrong(house: House) -> None:
    values = [penalty(f"规{uuid.uuid4().hex[:8]}", entity=100 + n) for n in range(20)]
    put(house.connection, "records.tax", framed(house.connection, values))
    house.run(block(1))
    proven(house)


def test_another_province_lost_data(house: House) -> None:
    house.run(block(4))


def test_a_department_sends_again(house: House) -> None:
    run = uuid.uuid4().hex[:8]
    names = refused(house.connection, f"重{run}-1", f"重{run}-2", key="tax", first=300)
    resent(house.folder, "resent.csv", f"重{run}-1", key="tax", first=300)
    house.run(block(3), LEFT=names[1])
    proven(house)


def test_the_catalogue_was_wrong(house: House) -> None:
    run = uuid.uuid4().hex[:8]
    refused(house.connection, *(f"录{run}-{n}" for n in range(30)), key="tax", first=200)
    shutil.copytree(
        ROOT / "schemas" / "catalogue", house.folder / "catalogue", ignore=shutil.ignore_patterns("*.py", "__*")
    )
    codes = house.folder / "catalogue" / "codes.csv"
    codes.write_text(
        codes.read_text(encoding="utf-8").rstrip("\n") + "\npenalty_category,训诫,训诫,2023-09-01,,test,yes\n",
        encoding="utf-8",
    )
    house.run(block(2))
    proven(house)
    for worker in house.stack.layout.workers:  # the others go by the catalogue that is shipped
        house.stack.stop(f"worker-{worker}")


def test_the_database_is_lost(house: House) -> None:
    numbers = [f"库{uuid.uuid4().hex[:8]}-{n}" for n in range(50)]
    values = framed(house.connection, [penalty(number, entity=500 + n) for n, number in enumerate(numbers)])
    put(house.connection, "records.tax", values)
    proven(house)
    lose = (
        "from deploy.local.stack import Stack; import psycopg;"
        f' s = Stack("{house.stack.name}"); [s.stop(f"worker-{{w}}") for w in s.layout.workers];'
        " c = psycopg.connect(s.connection().database.get_secret_value(), autocommit=True);"
        ' names = [n for (n,) in c.execute("SELECT nspname FROM pg_namespace") if n in ("xinliu", "serving", "report")'
        ' or n[0] == "g" and n[1:].isdecimal()];'
        ' [c.execute(f"DROP SCHEMA {n} CASCADE") for n in names]; c.execute("DROP TABLE public.alembic_version")'
    )
    house.script("lose-the-database", f"cd {ROOT} && PYTHONPATH={ROOT} {sys.executable} -c '{lose}'\n")
    house.run(block(5))
    proven(house)


def test_a_topic_lost_records(house: House) -> None:
    run, topic = uuid.uuid4().hex[:8], "records.justice"
    connection = house.connection
    put(
        connection,
        topic,
        framed(connection, [penalty(f"题{run}-{n}", entity=600 + n, key="justice") for n in range(5)]),
        partition=0,
    )
    proven(house)
    house.stack.stop("worker-intake")
    numbers = [f"题{run}-{n}" for n in range(5, 10)]
    put(
        connection,
        topic,
        framed(connection, [penalty(one, entity=605 + n, key="justice") for n, one in enumerate(numbers)]),
        partition=0,
    )
    begin, end = ends_of(connection, topic)[0] - 5, ends_of(connection, topic)[0]
    admin = AdminClient(connection.kafka.client({}))  # kept: with it the answer would go
    (deleted,) = admin.delete_records([TopicPartition(topic, 0, end)]).values()
    deleted.result(30)
    resent(house.folder, "again.csv", *numbers, key="justice", first=605)
    stop = f'from deploy.local.stack import Stack; Stack("{house.stack.name}").stop("worker-intake")'
    house.script("stop-intake", f"cd {ROOT} && PYTHONPATH={ROOT} {sys.executable} -c '{stop}'\n")
    house.run(block(6), LOST=f"justice/0/{begin}")
    proven(house)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_is_full(house: House) -> None:
    with ExitStack() as mounted:
        tables = mounted.enter_context(on_a_small_file_system(house.stack, house.connection))
        house.stack.up()
        with (tables / "ballast").open("wb") as out:
            out.write(b"\0" * (shutil.disk_usage(tables).free - (1 << 20)))
        values = [penalty(f"满{uuid.uuid4().hex[:8]}-{n}", entity=700 + n % 50) for n in range(3_000)]
        put(house.connection, "records.tax", framed(house.connection, values))
        log = house.stack.process("worker-view").log
        assert wait_until(lambda: "No space left on device" in log.read_text(errors="replace"), seconds=120)
        house.run(block(7), DISK=str(tables))
        proven(house)
        for worker in house.stack.layout.workers:
            house.stack.stop(f"worker-{worker}")
