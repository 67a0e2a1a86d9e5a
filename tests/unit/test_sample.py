"""The sample is what its manifest says: every good row good, every bad row refused for its own reason."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from producers.files.import_file import Import, import_file
from producers.sample.files import write_sample
from producers.sample.mistakes import MISTAKES
from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode

TODAY = datetime.now(ZoneInfo("Asia/Shanghai")).date()
Files = list[tuple[dict[str, Any], Import]]


def written(folder: Path, seed: int = 1) -> Path:
    write_sample(folder, load(), province="beijing", today=TODAY, records=3200, seed=seed)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Every file of the sample with what the manifest says of it."""
    folder = written(tmp_path_factory.mktemp("sample"))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert {file["file"] for file in manifest["files"]} | {"manifest.json"} == {path.name for path in folder.iterdir()}
    return [
        (file, import_file(folder / file["file"], load().department("beijing", file["department"]), load()))
        for file in manifest["files"]
    ]


def test_every_row_is_as_the_manifest_says(files: Files) -> None:
    for file, found in files:
        expected = {(bad["line"], bad["code"]) for bad in file["bad"]}
        assert {(error.line, error.code) for error in found.errors} >= expected, file["file"]
        assert found.refused_lines == {line for line, _ in expected}, (file["file"], found.errors)
        assert (found.rows, found.duplicates) == (file["rows"], file["duplicates"]), file["file"]


def test_it_is_large_and_wide_enough(files: Files) -> None:
    first = [
        decode(parsed("xinliu.Statement"), s.body) for file, found in files if file["wave"] == 1 for s in found.outgoing
    ]
    assert len({said["record_id"] for said in first}) >= 3000
    assert len({said["subject"]["uscc"] for said in first}) >= 400
    assert {said["domain"] for said in first} == {"registration", *(row.key for row in load().domains(TODAY))}
    registered = [said["registration"] for said in first if said["registration"]]
    assert {body["entity_kind"] for body in registered} == set(load().entity_kinds)
    assert any(body["former_names"] for body in registered)
    assert {said["listing"]["list"] for said in first if said["listing"]} == set(load().lists)
    assert {bad["code"] for file, _ in files for bad in file["bad"]} == {mistake.code for mistake in MISTAKES}
    assert len(MISTAKES) >= 10
    forms = {(found.table.format, found.table.encoding) for _, found in files}
    assert {("CSV", "UTF-8 (BOM)"), ("CSV", "GBK"), ("XLSX", ""), ("JSON Lines", "UTF-8")} <= forms


def test_the_second_wave_changes_records_of_the_first(files: Files) -> None:
    held: dict[str, str] = {}
    for file, found in files:
        if file["wave"] == 1:
            held |= {statement.record_id: statement.uscc for statement in found.outgoing}
    changes: Counter[str] = Counter()
    moved = renamed = 0
    for file, found in files:
        for statement in found.outgoing if file["wave"] == 2 else ():
            assert statement.record_id in held, (file["file"], statement.line)
            said = decode(parsed("xinliu.Statement"), statement.body)
            changes[str(said["reason"])] += 1
            renamed += bool(said["registration"] and said["registration"]["name_since"] == TODAY - timedelta(days=1))
            moved += statement.uscc != held[statement.record_id]
    assert {"CORRECTED", "REPAIRED", "REVOKED", "REMOVED"} <= set(changes)
    assert moved
    assert renamed
    assert sum(file["duplicates"] for file, _ in files)


def test_the_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    one, two, other = written(tmp_path / "1"), written(tmp_path / "2"), written(tmp_path / "3", seed=2)
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in two.iterdir()}
    assert {p.name: p.read_bytes() for p in one.iterdir()} != {p.name: p.read_bytes() for p in other.iterdir()}
