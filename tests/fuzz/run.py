"""The coverage-guided fuzzer: `python -m tests.fuzz.run TARGET --minutes N [--corpus DIR]`, or `make fuzz`.

Atheris (libFuzzer) mutates bytes, keeps those that reach new code, and holds each against the target's property (see
tests/fuzz/properties.py). What breaks a property is a finding: its bytes are kept in DIR/findings and the run goes on;
so do an input that takes more than 30 seconds or 3 GB, and one that ends the process. Prints figures as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

TARGETS = ("import", "columns", "intake")
_SLOWEST, _LARGEST = 30, 3072
_LONGEST = {"import": 1 << 16, "columns": 8192, "intake": 8192}


def _signature(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    return f"{type(error).__name__} at " + " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(frames))


class _Target:
    """One property, fed with inputs; counts them and keeps what breaks it."""

    def __init__(self, check: Callable[[Any], None], folder: Path) -> None:
        from tests.fuzz.choices import Consumed

        self._check, self._choices, self._folder = check, Consumed, folder
        self._inputs, self._told_at = 0, 0.0
        self._findings: dict[str, str] = {}

    def __call__(self, data: bytes) -> None:
        try:
            self._check(self._choices(data))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # a finding, panics of libraries among them
            self._keep(error, data)
        self._inputs += 1
        if monotonic() - self._told_at > 1.0:
            self._tell()

    def _keep(self, error: BaseException, data: bytes) -> None:
        signature = _signature(error)
        if signature not in self._findings:
            name = f"broken-{hashlib.sha256(data).hexdigest()[:16]}"
            (self._folder / name).write_bytes(data)
            self._findings[signature] = f"{name}: {str(error)[:200]}"
            self._tell()

    def _tell(self) -> None:
        self._told_at = monotonic()
        told = {"inputs": self._inputs, "findings": self._findings}
        (self._folder / "figures.json").write_text(json.dumps(told), encoding="utf-8")


def _inside(target: str, folder: Path, words: Sequence[str]) -> None:
    import atheris

    with atheris.instrument_imports(
        include=["schemas", "producers", "streams", "tests.fuzz"], enable_loader_override=False
    ):
        from tests.fuzz.properties import PROPERTIES
    atheris.Setup([sys.argv[0], *words], _Target(PROPERTIES[target], folder))
    atheris.Fuzz()


def _seeds(target: str, corpus: Path) -> None:
    # A fuzzer finds the way into a format sooner from something that is of that format.
    import random

    chance = random.Random(target)
    for number in range(40):
        (corpus / f"seed-{number}").write_bytes(chance.randbytes(chance.randrange(20, 900)))
    if target == "import":
        from tests.fuzz.files import SUFFIXES
        from tests.unit.importing import LISTING, PENALTY, REGISTRATION

        for row in (PENALTY, LISTING, REGISTRATION):
            lines = f"{','.join(row)}\n{','.join(row.values())}\n".encode()
            objects = json.dumps(row, ensure_ascii=False).encode()
            for place, suffix in enumerate(SUFFIXES):
                content = objects if "j" in suffix else lines
                (corpus / f"seed-{suffix[1:]}-{len(row)}").write_bytes(bytes([0, 0, place, 4]) + content)


def fuzz(target: str, minutes: float, corpus: Path) -> dict[str, Any]:
    """Fuzz a target for so many minutes and return the figures; an input that ends the process does not end the run."""
    findings_folder = corpus / "findings"
    findings_folder.mkdir(parents=True, exist_ok=True)
    inputs_folder = corpus / "inputs"
    if not inputs_folder.exists():
        inputs_folder.mkdir()
        _seeds(target, inputs_folder)
    began, inputs, findings = monotonic(), 0, dict[str, str]()
    while (left := int(began + minutes * 60 - monotonic())) > 0:
        words = [str(inputs_folder), f"-max_total_time={left}", f"-timeout={_SLOWEST}", f"-rss_limit_mb={_LARGEST}"]
        words += [f"-artifact_prefix={findings_folder}/", f"-max_len={_LONGEST[target]}", "-print_final_stats=1"]
        figures = findings_folder / "figures.json"
        figures.unlink(missing_ok=True)
        with (findings_folder / "log.txt").open("ab") as log:
            ended = subprocess.run(
                [sys.executable, "-m", "tests.fuzz.run", target, "--inside", str(findings_folder), *words],
                stdout=log,
                stderr=log,
                check=False,
            ).returncode
        if not figures.exists():
            raise SystemExit(
                f"the fuzzer did not start: see {findings_folder / 'log.txt'}; is atheris installed? `make fuzz`"
            )
        told = json.loads(figures.read_text(encoding="utf-8"))
        inputs += told["inputs"]
        findings |= told["findings"]
        if ended:
            newest = max(findings_folder.glob("*-*"), key=lambda path: path.stat().st_mtime, default=None)
            findings[f"the process ended with {ended}"] = newest.name if newest else ""
    seconds = monotonic() - began
    return {
        "target": target,
        "inputs": inputs,
        "executions_per_second": round(inputs / seconds, 1),
        "minutes": round(seconds / 60, 1),
        "findings": findings,
    }


def main() -> int:
    """Fuzz and tell; 1 where there are findings."""
    asked = argparse.ArgumentParser(description="Coverage-guided fuzzing of what takes other people's bytes.")
    asked.add_argument("target", choices=TARGETS)
    asked.add_argument("--minutes", type=float, default=5.0)
    asked.add_argument("--corpus", type=Path, help="folder of inputs and findings; kept, a later run goes on from it")
    asked.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options, words = asked.parse_known_args()
    if options.inside:
        _inside(options.target, options.inside, words)
        return 0
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix=f"xinliu-fuzz-{options.target}-"))
    told = fuzz(options.target, options.minutes, corpus)
    print(json.dumps({**told, "corpus": str(corpus)}, ensure_ascii=False, indent=2))
    return 1 if told["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
