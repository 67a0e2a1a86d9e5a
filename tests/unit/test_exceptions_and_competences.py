"""What a person lets through, and who may decide where, are data: each takes effect everywhere by one line of a file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import schemas.catalogue
from consumers.report import credit_view as reading
from producers.files.import_file import import_file
from producers.statements.encoding import nested
from schemas.catalogue import Catalogue, CatalogueError, load
from schemas.contracts.codec import encode
from schemas.contracts.flat_frame import FLAT
from schemas.contracts.memory_registry import MemoryRegistry
from schemas.errors import Retryable, UsageError
from schemas.rules import validate
from schemas.rules.examples import DEPARTMENT, good
from tests.fuzz.properties import Recorder, records_of, stage_of
from tests.unit.importing import TAX, penalty, told, write
from tests.unit.test_rules import NOW, TODAY

REAL, OTHER = "91350211M0000XUF46", "91350211M0000XUF47"
"""Said to be a firm's code although its check digit is wrong (FACTS, section 4), and one that nobody has reviewed."""

SHIPPED = Path(schemas.catalogue.__file__).parent
Appended = Callable[..., Catalogue]


@pytest.fixture
def appended(tmp_path: Path) -> Appended:
    """Return what appends lines to a file of a copy of the catalogue, as a person would, and loads it."""

    def append(name: str, *lines: str, without: str = "\0") -> Catalogue:
        folder = tmp_path / f"catalogue{len(list(tmp_path.iterdir()))}"  # a folder is read once
        folder.mkdir()
        for file in SHIPPED.glob("*.csv"):
            shutil.copy(file, folder)
        kept = [line for line in (folder / name).read_text(encoding="utf-8").splitlines() if without not in line]
        (folder / name).write_text("\n".join([*kept, *lines]) + "\n", encoding="utf-8")
        return load(folder)

    return append


def codes_of(catalogue: Catalogue, *, today: date = TODAY, kind: str = "PENALTY", **changes: Any) -> set[str]:
    said = good(kind) | changes
    frame = pl.DataFrame({name: [said.get(name, 0)] for name in FLAT.names()}, schema=FLAT)
    return set(validate(frame, catalogue, today=today, now=NOW)["code"])


def test_a_reviewed_code_passes_everywhere(tmp_path: Path) -> None:
    assert codes_of(load(), uscc=REAL) == set()
    assert codes_of(load(), penalty_source_unit_code=REAL) == set()
    assert codes_of(load(), uscc=OTHER) == {"USCC_CHECK_DIGIT"}

    found = import_file(
        write(tmp_path / "a.csv", [penalty(CF_XDR_SHXYM=f" {REAL.lower()}"), penalty(CF_XDR_SHXYM=OTHER)]), TAX, load()
    )
    assert [statement.uscc for statement in found.outgoing] == [REAL]
    assert told(found) == [(3, "CF_XDR_SHXYM", "USCC_CHECK_DIGIT")]

    registry, recorder = MemoryRegistry(), Recorder()
    schema_id = registry.register("xinliu.Statement").to_bytes(4, "big")
    values = [
        b"\0" + schema_id + encode("xinliu.Statement", nested(good("PENALTY") | {"uscc": code}))
        for code in (REAL, OTHER)
    ]
    stage_of(registry, recorder)([records_of(f"records.{DEPARTMENT}", values)])
    assert [value for _, _, value, _ in recorder.accepted] == values[:1]

    with pytest.raises(Retryable):  # the reader would look, if there were a database
        reading.read("postgresql://127.0.0.1:1/none", REAL)
    with pytest.raises(UsageError) as refused:
        reading.read("postgresql://127.0.0.1:1/none", "362322198709086409")
    assert "19870908" not in str(refused.value)


def test_an_exception_holds_while_it_is_in_force(appended: Appended) -> None:
    line = f"{OTHER},李某,核对过营业执照,2026-01-01,2026-06-30,营业执照复印件,no"
    catalogue = appended("uscc_exceptions.csv", line)
    assert codes_of(catalogue, today=date(2026, 6, 30), uscc=OTHER) == set()
    assert codes_of(catalogue, today=date(2026, 7, 1), uscc=OTHER) == {"USCC_CHECK_DIGIT"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("91110000101623741K", "nothing wrong"),
        ("94350211M0000XUF46", "USCC_PREFIX"),
        ("362322198709086409", "USCC_RESIDENT_ID"),
        (REAL, "holds already"),
    ],
)
def test_only_a_wrong_check_digit_can_be_excepted(appended: Appended, code: str, reason: str) -> None:
    with pytest.raises(CatalogueError, match=reason) as refused:
        appended("uscc_exceptions.csv", f"{code},李某,核对过,2026-01-01,,营业执照复印件,no")
    assert "uscc_exceptions.csv line 3" in str(refused.value)
    assert "19870908" not in str(refused.value)


def test_an_authority_may_have_such_a_code_once_it_is_reviewed(appended: Appended) -> None:
    catalogue = appended("authorities.csv", f"{REAL},某税务所,beijing,tax,2023-09-01,,试验,yes")
    assert (REAL, "某税务所") in catalogue.department("beijing", "tax").authorities
    with pytest.raises(CatalogueError, match=r"authorities\.csv line \d+.*USCC_CHECK_DIGIT"):
        appended("authorities.csv", f"{OTHER},某税务所,beijing,tax,2023-09-01,,试验,yes")


AUTHORITY = good("PENALTY")["authority"]


@pytest.mark.parametrize("kind", ["PENALTY", "LISTING"])
def test_an_authority_decides_only_where_it_may(appended: Appended, kind: str) -> None:
    assert codes_of(load(), kind=kind, domain="statistics") - {"LIST_DOMAIN"} == {"AUTHORITY_DOMAIN"}
    wider = appended("competences.csv", f"{AUTHORITY},statistics,2023-09-01,,试验,yes")
    assert codes_of(wider, kind=kind, domain="statistics") - {"LIST_DOMAIN"} == set()
    later = appended("competences.csv", f"{AUTHORITY},statistics,2027-01-01,,试验,yes")
    assert codes_of(later, kind=kind, domain="statistics") - {"LIST_DOMAIN"} == {"AUTHORITY_DOMAIN"}


def test_what_was_decided_before_a_competence_ended_stays_good(appended: Appended) -> None:
    ended = appended("competences.csv", f"{AUTHORITY},tax,2023-09-01,2026-03-31,试验,yes", without=f"{AUTHORITY},tax")
    assert codes_of(ended, penalty_decided_on=date(2026, 3, 31)) == set()
    assert codes_of(ended, penalty_decided_on=date(2026, 4, 1)) == {"AUTHORITY_DOMAIN"}
    assert codes_of(ended, penalty_decided_on=date(2021, 1, 1)) == set(), "when the file begins says nothing of the law"
    revoked = dict.fromkeys(name for name in FLAT.names() if name.startswith("penalty_"))
    assert codes_of(ended, **revoked, status="REVOKED", reason="REVOKED", has_penalty=False) == set()


def test_an_authority_that_the_catalogue_does_not_know_is_another_rules(appended: Appended) -> None:
    unknown = appended("competences.csv", without=AUTHORITY)
    assert codes_of(unknown, domain="statistics") == set()
    with pytest.raises(CatalogueError, match=r"competences\.csv line 176: domain 'taxx' is not in domains\.csv"):
        appended("competences.csv", f"{AUTHORITY},taxx,2023-09-01,,试验,yes")
