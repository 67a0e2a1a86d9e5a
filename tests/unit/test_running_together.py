"""Several apps in one process: each lives as alone, and none outlives another; one endpoint shows them all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client import Gauge
from prometheus_client.parser import text_string_to_metric_families

from schemas.errors import Fatal, Retryable, ServingMoved
from streams.monitoring.endpoint import Outside, Plain, Together, serving
from streams.monitoring.metrics import ACCEPTED, RETRIES
from streams.runtime.app import StreamApp, run


class App:
    """What `run` knows of an app; one that fails does so once both of them run."""

    def __init__(self, running: list[App], *, fails: BaseException | None = None, crashes: bool = False) -> None:
        self.stop_requested = asyncio.Event()
        self.failure: BaseException | None = None
        self.crash_reason: BaseException | None = None
        self.stops = 0
        self._running, self._fails, self._crashes = running, fails, crashes
        self._ended = asyncio.Event()

    async def start(self) -> None:
        """Start; the last one to start makes those fail that are to."""
        self._running.append(self)
        if len(self._running) == 2:
            for app in self._running:
                if app._crashes:
                    app.crash_reason = app._fails
                    app._ended.set()
                elif app._fails is not None:
                    await app.stop_for(app._fails)

    async def stop_for(self, error: BaseException) -> None:
        """Ask to be stopped."""
        self.failure = error
        self.stop_requested.set()

    async def wait_until_stopped(self) -> None:
        """Wait for the crash."""
        await self._ended.wait()

    async def stop(self) -> None:
        """Stop."""
        self.stops += 1


@pytest.fixture(autouse=True)
def _leave_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    # How a worker's process collects garbage is not how the tests' process should.
    monkeypatch.setattr("streams.runtime.app.tune_interpreter", lambda: None)


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("place", [0, 1])
def test_what_stops_one_stops_all_and_is_what_the_process_ends_with(place: int, crashes: bool) -> None:
    running: list[App] = []
    made: list[App] = []

    def build(number: int) -> StreamApp:
        why = Retryable("Kafka does not answer") if number == place else None
        made.append(App(running, fails=why, crashes=crashes and number == place))
        return cast(StreamApp, made[-1])

    with pytest.raises(Retryable, match="Kafka does not answer"):
        run(lambda: build(0), lambda: build(1))
    assert [app.stops for app in made] == [1, 1]


def test_an_app_that_cannot_start_stops_the_others() -> None:
    class Broken(App):
        async def start(self) -> None:
            raise ValueError("no such topic")

    running: list[App] = []
    made: list[App] = []

    def build(kind: type[App]) -> StreamApp:
        made.append(kind(running))
        return cast(StreamApp, made[-1])

    with pytest.raises(Fatal, match="ValueError: no such topic"):
        run(lambda: build(App), lambda: build(Broken))
    assert [app.stops for app in made] == [1, 1]


def test_an_app_that_is_left_behind_is_built_anew_while_the_others_go_on() -> None:
    running: list[App] = []
    made: dict[str, list[App]] = {"intake": [], "view": []}

    class Left(App):
        renew: Any = None

        async def start(self) -> None:
            self._running.append(self)
            if len(made["view"]) < 3:
                await self.stop_for(ServingMoved("generation 1 serves no more"))
            else:
                # The last one runs: now the process may end.
                await made["intake"][0].stop_for(Retryable("over"))

    tries = [Retryable("PostgreSQL does not answer")]

    def renew() -> Any:
        if tries:
            raise tries.pop()
        return lambda: build("view", Left)

    def build(name: str, kind: type[App]) -> StreamApp:
        made[name].append(kind(running))
        if isinstance(made[name][-1], Left):
            made[name][-1].renew = renew  # type: ignore[attr-defined]
        return cast(StreamApp, made[name][-1])

    with pytest.raises(Retryable, match="over"):
        run(lambda: build("intake", App), lambda: build("view", Left))
    assert [app.stops for app in made["view"]] == [1, 1, 1]
    assert [app.stops for app in made["intake"]] == [1], "intake was never built anew"


def test_an_app_that_cannot_be_built_anew_stops_the_others() -> None:
    running: list[App] = []
    made: list[App] = []

    class Left(App):
        async def start(self) -> None:
            await self.stop_for(ServingMoved("generation 1 serves no more"))

        def renew(self) -> Any:
            raise ValueError("no such catalogue")

    def build(kind: type[App]) -> StreamApp:
        made.append(kind(running))
        return cast(StreamApp, made[-1])

    with pytest.raises(Fatal, match="ValueError: no such catalogue"):
        run(lambda: build(App), lambda: build(Left))
    assert [app.stops >= 1 for app in made] == [True, True]


@pytest.fixture
def together() -> Iterator[tuple[dict[str, Outside], str]]:
    """Intake and view and one part with metrics alone, at one address."""
    parts = {"intake": Outside("intake", ("kafka",)), "view": Outside("view", ("postgres",))}
    gauge = Gauge("xinliu_link_up", "1 while it copies", ("peer",), registry=None)
    gauge.labels("tianjin").set(1)
    with serving(Together("province", (*parts.values(), Plain("link", gauge))), 0) as url:
        yield parts, url


def asked(url: str) -> tuple[int, dict[str, Any]]:
    """Ask for a verdict."""
    try:
        with urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def samples(url: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Read all series; no family may be named twice."""
    with urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_each_series_says_whose_it_is_and_each_worker_can_be_asked_alone(
    together: tuple[dict[str, Outside], str],
) -> None:
    parts, url = together
    parts["intake"].instruments.total(ACCEPTED).add({("tax",): 3})
    for number, part in enumerate(parts.values(), 1):
        part.instruments.total(RETRIES).add({("kafka",): number})
    every = samples(f"{url}/metrics")
    assert every["xinliu_intake_accepted_total", frozenset({("department", "tax"), ("worker", "intake")})] == 3
    assert every["xinliu_retries_total", frozenset({("server", "kafka"), ("worker", "intake")})] == 1
    assert every["xinliu_retries_total", frozenset({("server", "kafka"), ("worker", "view")})] == 2
    assert every["xinliu_link_up", frozenset({("peer", "tianjin"), ("worker", "link")})] == 1
    assert samples(f"{url}/view/metrics")["xinliu_retries_total", frozenset({("server", "kafka")})] == 2
    assert samples(f"{url}/link/metrics") == {("xinliu_link_up", frozenset({("peer", "tianjin")})): 1.0}


def test_it_is_ready_when_all_of_them_are(together: tuple[dict[str, Outside], str]) -> None:
    parts, url = together
    code, told = asked(f"{url}/ready")
    assert code == 503
    assert set(told["reasons"]) == {
        "intake: no partitions are assigned to it",
        "intake: kafka: not asked yet",
        "view: no partitions are assigned to it",
        "view: postgres: not asked yet",
    }
    parts["intake"].probe.assigned(4)
    parts["intake"].probe.answered("kafka", asked=0.0)
    assert asked(f"{url}/intake/ready") == (200, {"worker": "intake", "ready": True, "reasons": []})
    assert asked(f"{url}/ready")[0] == 503, "the view is not"
    parts["view"].probe.assigned(5)
    parts["view"].probe.answered("postgres", asked=0.0)
    assert asked(f"{url}/ready") == (200, {"worker": "province", "ready": True, "reasons": []})
    assert asked(f"{url}/health") == (200, {"worker": "province", "healthy": True, "reasons": []})
    assert asked(f"{url}/link/health") == (200, {"worker": "link", "healthy": True, "reasons": []})
