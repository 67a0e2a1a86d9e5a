"""Files of the sample: one for each department and wave, in the formats and encodings that departments really send."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random

from producers.files.headers.headers import resolve
from producers.sample.invention import Entity, entities, listing, penalty
from producers.sample.mistakes import MISTAKES
from producers.sample.registrations import later, registrations
from schemas.catalogue import Catalogue, Department

__all__ = ["SampleFile", "write_sample"]

Cells = dict[str, str]

_FORMS = (("csv", "utf-8-sig"), ("csv", "gbk"), ("xlsx", ""), ("jsonl", "utf-8"), ("csv", "gb18030"), ("csv", "utf-8"))


@dataclass(slots=True)
class SampleFile:
    """The expected result of a file: good rows, and for each bad line the mistake and the code of its refusal."""

    file: str
    department: str
    wave: int
    rows: int = 0
    duplicates: int = 0
    bad: list[dict[str, str | int]] = field(default_factory=list)


@dataclass(slots=True)
class _Department:
    department: Department
    domain: tuple[str, str]
    penalties: list[Cells] = field(default_factory=list)
    listings: list[Cells] = field(default_factory=list)


def write_sample(folder: Path, catalogue: Catalogue, *, province: str, today: date, records: int, seed: int) -> Path:
    """Write the sample into a folder and return its manifest (manifest.json).

    Wave 1 has `records` records of all departments, registrations of most entities, and bad rows. Wave 2 has
    corrections, a record moved to another entity, repairs, revocations, removals from lists, renames and exact
    duplicates. The same arguments give the same files.
    """
    random = Random(seed)
    people = entities(random, max(420, records // 8))
    sources = [
        _Department(department, (department.domains[0], catalogue.domain(department.domains[0]).name_zh))
        for department in catalogue.departments(province)
    ]
    _fill(random, today, sources, people, records)
    folder.mkdir(parents=True, exist_ok=True)
    first, second = f"{today - timedelta(days=2)} 08:30:00", f"{today - timedelta(days=1)} 17:05:00"
    files: list[SampleFile] = []
    for number, source in enumerate(sources):
        form = _FORMS[number % len(_FORMS)]
        files.extend(_first_wave(folder, source, form, first, today, number))
        files.extend(_second_wave(folder, random, source, form, second, people, today))
    example = next(source.penalties[0] for source in sources if len(source.penalties) >= 6)
    registrars = [source.department for source in sources if source.department.registers]
    division, sure = catalogue.province(province).division, example["CF_XDR_SHXYM"]
    # Random numbers of its own, so that the rest of the sample is the same without them.
    known = registrations(Random(seed), today, registrars, people, division, sure)
    for registrar in registrars:
        files.extend(_registry(folder, registrar, known[registrar.key], (first, second), today, sure))
    manifest = folder / "manifest.json"
    plain = {
        "province": province,
        "made_on": today.isoformat(),
        "seed": seed,
        "corrected_in_wave_2": {
            "uscc": example["CF_XDR_SHXYM"],
            "name": example["CF_XDR_MC"],
            "document": example["CF_WSH"],
        },
        "files": [asdict(file) for file in files],
    }
    manifest.write_text(json.dumps(plain, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return manifest


def _fill(random: Random, today: date, sources: Sequence[_Department], people: Sequence[Entity], records: int) -> None:
    for number in range(records):
        # Every department has some; market regulation, tax and the courts have most, as in reality.
        source = sources[number % len(sources)] if number < 12 * len(sources) else random.choice(sources[:8])
        department, entity = source.department, random.choice(people)
        authority = random.choice(department.authorities)
        year = today.year - 1
        if department.lists and number % 9 == 0:
            key = department.lists[0]
            entry = (
                f"({year})京{len(source.listings) + 1:05d}号"
                if key == "COURT"
                else f"{key}-{year}-{len(source.listings) + 1:05d}"
            )
            source.listings.append(listing(random, today, entity, entry, key, authority))
        else:
            name = f"京{source.domain[1][:2]}罚〔{year}〕{len(source.penalties) + 1}号"
            source.penalties.append(penalty(random, today, entity, name, source.domain, authority))
    # List keepers with few numbers still have entries.
    for source in sources:
        for key in source.department.lists:
            while len(source.listings) < 6:
                entry = f"{key}-{today.year - 1}-{len(source.listings) + 1:05d}"
                who = random.choice(people)
                source.listings.append(
                    listing(random, today, who, entry, key, random.choice(source.department.authorities))
                )


def _first_wave(
    folder: Path, source: _Department, form: tuple[str, str], updated: str, today: date, number: int
) -> list[SampleFile]:
    files = []
    if source.penalties:
        rows = [{**cells, "更新时间": updated} for cells in source.penalties]
        file = SampleFile(_name(source, 1, "penalties", form), source.department.key, 1)
        # Every department sends some bad rows; all kinds of mistakes are among them.
        mistake = MISTAKES[number % len(MISTAKES)]
        bad = {**rows[0], "CF_WSH": f"{rows[0]['CF_WSH']}之二"}
        rows.insert(min(3, len(rows)), mistake.spoil(bad, today))
        file.bad.append({"line": _line(form, min(3, len(rows) - 1)), "mistake": mistake.name, "code": mistake.code})
        _write(folder / file.file, form, rows)
        file.rows = len(rows)
        files.append(file)
    if source.listings:
        rows = [{**cells, "更新时间": updated} for cells in source.listings]
        file = SampleFile(_name(source, 1, "listings", form), source.department.key, 1, len(rows))
        _write(folder / file.file, form, rows)
        files.append(file)
    return files


def _second_wave(
    folder: Path,
    random: Random,
    source: _Department,
    form: tuple[str, str],
    updated: str,
    people: Sequence[Entity],
    today: date,
) -> list[SampleFile]:
    files = []
    if len(source.penalties) >= 6:
        rows = _changes(random, source.penalties, updated, people)
        file = SampleFile(_name(source, 2, "penalties", form), source.department.key, 2, len(rows), duplicates=1)
        _write(folder / file.file, form, rows)
        files.append(file)
    if len(source.listings) >= 4:
        removed = {"移出日期": (today - timedelta(days=1)).isoformat(), "移出事由": "提前移出", "更新时间": updated}
        rows = [{**source.listings[0], **removed}, {**source.listings[1], "状态": "已撤销", "更新时间": updated}]
        file = SampleFile(_name(source, 2, "listings", form), source.department.key, 2, len(rows))
        _write(folder / file.file, form, rows)
        files.append(file)
    return files


def _registry(
    folder: Path, registrar: Department, rows: list[Cells], updated: tuple[str, str], today: date, sure: str
) -> list[SampleFile]:
    files = []
    number_of_a_person = {**rows[0], "统一社会信用代码": "362322198709086409"}
    for wave, said in ((1, [*rows, number_of_a_person]), (2, later(rows, today, sure))):
        file = SampleFile(f"wave{wave}-{registrar.key}-registrations.csv", registrar.key, wave, len(said))
        if wave == 1:
            mistake = next(mistake for mistake in MISTAKES if mistake.code == "USCC_RESIDENT_ID")
            file.bad.append({"line": len(said) + 1, "mistake": mistake.name, "code": mistake.code})
        _write(folder / file.file, ("csv", "utf-8-sig"), [{**row, "更新时间": updated[wave - 1]} for row in said])
        files.append(file)
    return files


def _changes(random: Random, penalties: Sequence[Cells], updated: str, people: Sequence[Entity]) -> list[Cells]:
    corrected = {
        **penalties[0],
        "CF_NR_FK": "0.5",
        "CF_CFLB": "罚款",
        "CF_NR": "罚款人民币5000元(更正)",
        "变更原因": "更正",
    }
    other = random.choice([person for person in people if person.uscc != penalties[1]["CF_XDR_SHXYM"]])
    moved = {
        **penalties[1],
        "CF_XDR_MC": other.name,
        "CF_XDR_LB": other.kind,
        "CF_XDR_SHXYM": other.uscc,
        "原主体": penalties[1]["CF_XDR_SHXYM"],
    }
    renumbered = {**penalties[2], "CF_WSH": f"{penalties[2]['CF_WSH']}(更正)", "原文号": penalties[2]["CF_WSH"]}
    repaired = {**penalties[3], "状态": "已修复"}
    revoked = {**penalties[4], "状态": "已撤销"}
    rows = [corrected, moved, renumbered, repaired, revoked]
    return [{**row, "更新时间": updated} for row in (*rows, corrected)]


def _name(source: _Department, wave: int, what: str, form: tuple[str, str]) -> str:
    return f"wave{wave}-{source.department.key}-{what}.{form[0]}"


def _line(form: tuple[str, str], place: int) -> int:
    return place + 1 if form[0] == "jsonl" else place + 2


def _write(path: Path, form: tuple[str, str], rows: Sequence[Cells]) -> None:
    headers = list(dict.fromkeys(header for row in rows for header in row))
    resolve(headers)  # an unreadable sample would be useless
    kind, encoding = form
    if kind == "jsonl":
        lines = (json.dumps({key: value for key, value in row.items() if value}, ensure_ascii=False) for row in rows)
        path.write_text("\n".join(lines) + "\n", encoding=encoding)
    elif kind == "xlsx":
        _write_xlsx(path, headers, rows)
    else:
        with path.open("w", encoding=encoding, newline="") as file:
            writer = csv.DictWriter(file, headers, restval="")
            writer.writeheader()
            writer.writerows(rows)


def _write_xlsx(path: Path, headers: Sequence[str], rows: Sequence[Cells]) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(str(path)) as workbook:
        workbook.set_properties({"created": datetime(2025, 1, 1, tzinfo=UTC)})  # without it no two files are equal
        sheet = workbook.add_worksheet()
        bold, day = workbook.add_format({"bold": True}), workbook.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, headers, bold)
        for number, row in enumerate(rows, 1):
            for column, header in enumerate(headers):
                value = row.get(header, "")
                if header == "CF_JDRQ" and _is_date(value):  # as Excel keeps dates
                    sheet.write_datetime(number, column, date.fromisoformat(value), day)
                elif value:
                    sheet.write_string(number, column, value)


def _is_date(value: str) -> bool:
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True
