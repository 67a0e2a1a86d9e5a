"""Where the tests' time goes: a pytest plugin that looks, twenty times a second, at what the running test is doing.

`python -m pytest -p tests.seconds --seconds FOLDER …` leaves one file per process of the run in FOLDER; `python -m
tests.seconds FOLDER` prints the sum, the slowest tests with their kinds, and the lines waited at the longest.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytest

from tests.workers import Worker

__all__ = ["KINDS"]

KINDS = ("servers", "commands", "starting", "stopping", "conditions", "hypothesis", "work")
"""Servers started, emptied or stopped; commands run as processes; workers until they have their partitions; workers
that end; conditions waited for; Hypothesis; and all else, which is work."""

_EVERY = 0.05
_TESTS = Path(__file__).parent
_SERVERS = (
    "deploy/local/stack.py",
    "deploy/local/postgres.py",
    "deploy/local/kafka.py",
    "deploy/local/registry.py",
    "tests/servers.py",
    "tests/secure.py",
)
_STARTING = 4.5
"""Seconds from the start of a worker's process until it has its partitions, as measured on 2 cores: what is waited for
meanwhile counts as its start."""


def kind_of(places: Sequence[tuple[str, str]], *, starting: bool) -> str:
    """Return the kind of a moment by its stack of (file, function), outermost first; `starting`: a worker is not ready yet."""
    files = [file for file, _ in places]
    functions = {function for file, function in places if not file.startswith("tests/")}
    if any(file.endswith(_SERVERS) and function != "xinliu" for file, function in places):
        return "servers"
    if any(file == "tests/workers.py" and function in ("stop", "kill") for file, function in places):
        return "stopping"
    if any(file.endswith("subprocess.py") for file in files):
        return "commands"
    if "wait_until" in functions or "wait" in functions:
        return "starting" if starting else "conditions"
    return "hypothesis" if any("/hypothesis/" in file for file in files) else "work"


class Sampler(threading.Thread):
    """Looks at the main thread; what it sees is counted for the phase of the test that runs."""

    def __init__(self) -> None:
        super().__init__(name="seconds", daemon=True)
        self.ended = threading.Event()
        self.phase = ""
        self.seen: dict[str, Counter[str]] = defaultdict(Counter)
        self.lines: Counter[str] = Counter()
        self.started = -_STARTING
        self._main = threading.main_thread().ident

    def run(self) -> None:
        last = monotonic()
        while not self.ended.wait(_EVERY):
            now = monotonic()
            frame = sys._current_frames().get(self._main or 0)
            if frame is not None and self.phase:
                self._count(frame, now - last)
            last = now

    def _count(self, frame: FrameType, seconds: float) -> None:
        places: list[tuple[str, str]] = []
        line = ""
        step: FrameType | None = frame
        while step is not None:
            file = step.f_code.co_filename
            short = file.partition(str(_TESTS.parent) + "/")[2] or file
            if short.startswith("tests/") and not line:
                line = f"{short}:{step.f_lineno}"
            places.append((short, step.f_code.co_name))
            step = step.f_back
        kind = kind_of(places[::-1], starting=self._starting())
        self.seen[self.phase][kind] += seconds  # type: ignore[assignment]
        self.lines[f"{kind} {line}"] += seconds  # type: ignore[assignment]

    def _starting(self) -> bool:
        return monotonic() - self.started < _STARTING

    def watch_workers(self) -> None:
        """Learn of every worker that a test starts."""
        begin = Worker.__init__

        def started(*args: Any, **options: Any) -> None:
            self.started = monotonic()
            begin(*args, **options)

        Worker.__init__ = started  # type: ignore[method-assign]


_sampler: Sampler | None = None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the folder that the figures are left in."""
    parser.addoption("--seconds", metavar="FOLDER", help="leave there where the time of each test went")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to look."""
    global _sampler  # noqa: PLW0603  # one a process, as pytest has it
    if not config.getoption("--seconds") or (
        hasattr(config, "workerinput") is False and config.getoption("numprocesses", None)
    ):
        return
    _sampler = Sampler()
    _sampler.watch_workers()
    _sampler.start()


def _phase(name: str, item: pytest.Item) -> Iterator[None]:
    if _sampler is None:
        yield
        return
    _sampler.phase = f"{name} {item.nodeid}"
    yield
    _sampler.phase = ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """Count what follows as set-up."""
    return (yield from _phase("setup", item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Count what follows as the test itself."""
    return (yield from _phase("call", item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Count what follows as what comes after it."""
    return (yield from _phase("teardown", item))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the figures."""
    if _sampler is None:
        return
    _sampler.ended.set()
    _sampler.join()
    folder = Path(config.getoption("--seconds"))
    folder.mkdir(parents=True, exist_ok=True)
    told = {"seen": _sampler.seen, "lines": _sampler.lines}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(told), encoding="utf-8")


def _read(folder: Path) -> tuple[dict[str, Counter[str]], Counter[str]]:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    lines: Counter[str] = Counter()
    for file in folder.glob("*.json"):
        told = json.loads(file.read_text(encoding="utf-8"))
        for phase, kinds in told["seen"].items():
            seen[phase].update(kinds)
        lines.update(told["lines"])
    return seen, lines


def main(words: Sequence[str] | None = None) -> None:
    """Print where the time of a run went, as tables in Markdown."""
    asked = argparse.ArgumentParser(description="Where the time of a run of the tests went.")
    asked.add_argument("folder", type=Path, help="what --seconds left")
    asked.add_argument("--slowest", type=int, default=60, help="so many tests and fixtures")
    asked.add_argument("--lines", type=int, default=0, help="so many lines that took the longest")
    options = asked.parse_args(words)
    seen, lines = _read(options.folder)
    total: Counter[str] = sum(seen.values(), Counter())
    every = sorted(seen.items(), key=lambda phase: -phase[1].total())[: options.slowest]
    print(f"| test or fixture | s | {' | '.join(KINDS)} |")
    print(f"|---|---|{'---|' * len(KINDS)}")
    for name, kinds in [("all", total), *every]:
        short = name.replace("tests/", "").replace(".py::", " ").replace("call ", "")
        figures = " | ".join(f"{kinds[kind]:.0f}" if kinds[kind] >= 0.5 else "" for kind in KINDS)
        print(f"| {short} | {kinds.total():.0f} | {figures} |")
    for line, seconds in lines.most_common(options.lines):
        print(f"{seconds:7.1f} {line}")


if __name__ == "__main__":
    main()
