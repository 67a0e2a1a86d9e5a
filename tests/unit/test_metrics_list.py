"""The list of metrics, the instruments, and what the recorders make of what the stages tell them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from time import time
from typing import Any

import polars as pl
import pytest
import requests
from aiokafka.structs import ConsumerRecord

from consumers.links.metrics import LINK_METRICS
from schemas.errors import Retryable
from streams.forwarding.findings import finding
from streams.intake.recorder import IntakeRecorder
from streams.kafka.headers import ORIGIN, RECEIVED
from streams.kafka.records import Run
from streams.monitoring.endpoint import Outside, serving
from streams.monitoring.health import Probe
from streams.monitoring.instruments import Instruments, Latest, Spread, Total
from streams.monitoring.metrics import METRICS, Kind, Metric
from streams.monitoring.recorder import WorkRecorder
from streams.relay.recorder import RelayRecorder
from streams.view.recorder import ViewRecorder, arrivals_of
from tests.exposition import Scrape, judged, scrape

DOCUMENT = Path(__file__).parents[2] / "docs" / "monitoring.md"


@pytest.fixture
def intake() -> Iterator[tuple[Outside, str]]:
    """What an intake worker shows, and where."""
    outside = Outside("intake", ("kafka",))
    with serving(outside, 0) as url:
        yield outside, url


@pytest.fixture
def view() -> Iterator[tuple[Outside, str]]:
    """What a view worker shows, and where."""
    outside = Outside("view", ("kafka", "postgres"))
    with serving(outside, 0) as url:
        yield outside, url


def record(topic: str, offset: int, headers: tuple[tuple[str, bytes], ...] = ()) -> ConsumerRecord[bytes, bytes]:
    """Return a fetched record."""
    return ConsumerRecord(topic, 0, offset, 1_000, 1, b"k", b"v", None, 1, 1, headers)


def run(topic: str, count: int) -> Run:
    """Return a run of so many records."""
    return Run(topic, 0, 0, tuple(record(topic, offset) for offset in range(count)))


def test_names_say_what_they_are() -> None:
    every = (*METRICS, *LINK_METRICS)
    names = [metric.name for metric in every]
    assert len(names) == len(set(names))
    for metric in every:
        assert re.fullmatch(r"xinliu_[a-z_]+", metric.name)
        assert (metric.kind is Kind.COUNTER) == metric.name.endswith("_total"), metric.name
        assert (metric.kind is Kind.HISTOGRAM) == bool(metric.buckets), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert set(metric.workers) <= {"intake", "view", "link"}
        assert metric.workers
        if metric.unit in {"seconds", "unix time"}:
            assert metric.name.endswith("_seconds")


def test_the_document_shows_the_list() -> None:
    shown = re.findall(
        r"^\| `(xinliu_\w+)` \| (\w+) \| ([^|]+) \| ([^|]*) \| ([^|]+) \| ([^|]+) \|$",
        DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert shown == [
        (m.name, str(m.kind), m.unit, ", ".join(m.labels), ", ".join(m.workers), m.help)
        for m in (*METRICS, *LINK_METRICS)
    ]


def test_a_spread_holds_what_is_at_most_its_bound() -> None:
    spread = Spread(Metric("x_seconds", Kind.HISTOGRAM, "seconds", ("who",), ("view",), "x", (1.0, 5.0)))
    spread.observe(("a",), [0.5, 1.0, 1.1, 5.0, 99.0])
    spread.observe(("a",), [])
    spread.observe(("b",), [5.1])
    samples = {(s.name, s.labels["who"], s.labels.get("le")): s.value for s in spread.family().samples}
    assert [samples["x_seconds_bucket", "a", le] for le in ("1.0", "5.0", "+Inf")] == [2, 4, 5]
    assert [samples["x_seconds_bucket", "b", le] for le in ("1.0", "5.0", "+Inf")] == [0, 0, 1]
    assert samples["x_seconds_sum", "a", None] == pytest.approx(106.6)
    assert samples["x_seconds_count", "a", None] == 5


def test_a_gauge_forgets_what_is_not_named_any_more() -> None:
    latest = Latest(Metric("x", Kind.GAUGE, "x", ("who",), ("view",), "x"))
    latest.replace({("a",): 1, ("b",): 2})
    latest.replace({("b",): 3})
    assert [(s.labels["who"], s.value) for s in latest.family().samples] == [("b", 3)]


def test_a_counter_begins_at_0() -> None:
    total = Total(Metric("x_total", Kind.COUNTER, "x", ("who",), ("view",), "x"))
    total.add({("a",): 0})
    total.add({("a",): 2, ("b",): 1})
    total.add({("a",): 3})
    assert [(s.labels["who"], s.value) for s in total.family().samples] == [("a", 5), ("b", 1)]


def test_two_sets_do_not_meet() -> None:
    first, second = Instruments("view"), Instruments("view")
    metric = next(m for m in METRICS if m.name == "xinliu_view_rereads_total")
    first.total(metric).add({(): 7})
    assert b"xinliu_view_rereads_total 0.0" in second.exposition()[0]


def test_intake_counts_messages_by_what_became_of_them(intake: tuple[Outside, str]) -> None:
    outside, url = intake

    class Verdict:
        def __init__(self, refused: bool, *codes: str) -> None:
            self.refused = refused
            self.findings = [finding(code) for code in codes]

    tax, water = run("records.tax", 6), run("records.water", 4)
    verdicts: list[tuple[Any, Any]] = [
        (tax.records[0], Verdict(True, "DAMAGED")),
        (tax.records[1], Verdict(False, "POSSIBLE_DUPLICATE")),
        # Twice the same code is one message with that code.
        (water.records[1], Verdict(True, "DATE_RANGE", "DATE_RANGE", "TOO_LARGE")),
        (water.records[2], Verdict(True, "WRONG_DEPARTMENT")),  # a marker that is refused
    ]
    recorder = IntakeRecorder(outside.instruments, ["tax", "water", "quiet"])
    recorder.forwarded([tax, water], verdicts, [tax.records[5], water.records[3]])
    shown = scrape(url)
    accepted = {dict(labels)["department"]: v for labels, v in shown.series("xinliu_intake_accepted_total").items()}
    refused = {dict(labels)["department"]: v for labels, v in shown.series("xinliu_intake_refused_total").items()}
    assert accepted == {"tax": 4, "water": 1, "quiet": 0}
    assert refused == {"tax": 1, "water": 2, "quiet": 0}
    found = {
        tuple(dict(labels)[name] for name in ("department", "code", "outcome")): v
        for labels, v in shown.series("xinliu_intake_findings_total").items()
    }
    assert found == {
        ("tax", "DAMAGED", "refused"): 1,
        ("tax", "POSSIBLE_DUPLICATE", "flagged"): 1,
        ("water", "DATE_RANGE", "refused"): 1,
        ("water", "TOO_LARGE", "refused"): 1,
        ("water", "WRONG_DEPARTMENT", "refused"): 1,
    }


def statements(*ages: float | None) -> list[ConsumerRecord[bytes, bytes]]:
    """Return accepted messages that were received so many seconds ago; None: nobody wrote when."""
    origin = (ORIGIN, b"records.tax id 0 1")
    return [
        record(
            "accepted",
            number,
            (origin,) if age is None else (origin, (RECEIVED, b"%d" % int((time() - age) * 1000))),
        )
        for number, age in enumerate(ages)
    ]


def test_the_view_counts_what_is_committed_and_only_that(view: tuple[Outside, str]) -> None:
    outside, url = view
    recorder = ViewRecorder(outside.instruments, ["tax", "water"])
    recorder.begins()
    recorder.statements(arrivals_of(pl.Series(["tax", "tax"]), statements(1.0, 2.0)))
    recorder.told("tax", "OLDER", "OLDER")
    recorder.begins()  # the first try was rolled back
    recorder.statements(arrivals_of(pl.Series(["tax", "tax", "water", "tax"]), statements(3.0, 4000.0, -5.0, None)))
    recorder.told("tax", "REFUSED", "STORE_REFUSED")
    assert scrape(url).total("xinliu_view_statements_total") == 0
    recorder.committed()
    shown = scrape(url)
    assert shown.value("xinliu_view_statements_total", department="tax") == 3
    assert shown.value("xinliu_view_statements_total", department="water") == 1
    assert shown.series("xinliu_view_findings_total") == {
        frozenset({("department", "tax"), ("code", "STORE_REFUSED"), ("outcome", "refused")}): 1,
        frozenset({("department", "water"), ("code", "STORE_REFUSED"), ("outcome", "refused")}): 0,
    }
    seconds = "xinliu_view_visible_seconds"
    assert shown.value(f"{seconds}_count", department="tax") == 2, "one does not say when it was received"
    assert [shown.value(f"{seconds}_bucket", department="tax", le=le) for le in ("2.5", "5.0", "3600.0", "86400.0")] == [
        0, 1, 1, 2,
    ]  # fmt: skip
    assert shown.value(f"{seconds}_sum", department="water") == 0, "the broker's clock is ahead: not less than no time"


def test_a_try_that_fails_is_a_retry_and_no_batch(view: tuple[Outside, str]) -> None:
    outside, url = view
    recorder = WorkRecorder(outside)
    with pytest.raises(Retryable), recorder.trying("finish"):
        raise Retryable("PostgreSQL is away", server="postgres")
    with recorder.trying("prepare"):
        pass
    assert "the work waits: PostgreSQL is away" in judged(url, "ready")[1]["reasons"], (
        "the other step waits for nothing"
    )
    with recorder.trying("finish"):
        pass
    recorder.finished(10, 0.5)
    recorder.reread()
    shown = scrape(url)
    assert shown.series("xinliu_retries_total") == {
        frozenset({("server", "kafka")}): 0,
        frozenset({("server", "registry")}): 0,
        frozenset({("server", "postgres")}): 1,
    }
    assert shown.value("xinliu_view_transaction_seconds_count") == 1
    assert shown.value("xinliu_view_transaction_seconds_sum") == 0.5
    assert shown.value("xinliu_view_transaction_rows_sum") == 10
    assert shown.value("xinliu_view_rereads_total") == 1
    assert "the work waits: PostgreSQL is away" not in judged(url, "ready")[1]["reasons"]


def test_the_relay_counts_by_kind(view: tuple[Outside, str]) -> None:
    outside, url = view
    recorder = RelayRecorder(outside)
    recorder.published(3, 40, 2)
    recorder.retried("kafka")
    shown = scrape(url)
    assert shown.value("xinliu_relay_messages_total", kind="receipt") == 3
    assert shown.value("xinliu_relay_messages_total", kind="change") == 40
    assert shown.value("xinliu_relay_messages_total", kind="tombstone") == 2
    assert shown.value("xinliu_retries_total", server="kafka") == 1


def ready(probe: Probe) -> None:
    """Tell all that makes a worker ready."""
    probe.assigned(4)
    for server in ("kafka", "postgres"):
        probe.answered(server, asked=1.0)


def test_a_worker_is_ready_with_partitions_and_servers_that_answered_lately() -> None:
    now = [0.0]
    probe = Probe(("kafka", "postgres"), clock=lambda: now[0])
    assert probe.unready() == [
        "no partitions are assigned to it",
        "kafka: not asked yet",
        "postgres: not asked yet",
    ]
    ready(probe)
    assert probe.unready() == []
    probe.silent("postgres", "connection refused\n  is it running?")
    assert probe.unready() == ["postgres: connection refused is it running?"]
    assert probe.answers()["postgres"].asked == 1.0, "what is known of it is still of then"
    assert probe.stuck() == []
    probe.answered("postgres", asked=2.0)
    now[0] = 61.0
    probe.answered("kafka", asked=62.0)
    assert probe.unready() == ["postgres: last answered 61 s ago"]


def test_a_loop_that_does_not_come_round_is_unhealthy() -> None:
    now = [0.0]
    probe = Probe(("kafka", "postgres"), clock=lambda: now[0])
    ready(probe)
    probe.beat("events")
    probe.beat("watch")
    probe.ended("watch")
    now[0] = 31.0
    assert probe.stuck() == ["the loop 'events' has not come round for 31 s"]
    assert probe.unready() == probe.stuck()
    probe.beat("events")
    probe.call_begins("finish")
    now[0] = 60.0
    assert probe.stuck() == []
    probe.call_begins("prepare")
    probe.call_ends("prepare")
    now[0] = 632.0
    probe.beat("events")
    assert probe.stuck() == ["one batch has been worked on for 601 s (finish)"], "the other step waits for it"
    probe.call_ends("finish")
    assert probe.stuck() == []


def test_the_endpoint_answers_what_it_is_asked(view: tuple[Outside, str]) -> None:
    outside, url = view
    assert judged(url, "health") == (200, {"worker": "view", "healthy": True, "reasons": []})
    status, told = judged(url, "ready")
    assert (status, told["ready"]) == (503, False)
    assert scrape(url).value("xinliu_ready") == 0
    ready(outside.probe)
    assert judged(url, "ready") == (200, {"worker": "view", "ready": True, "reasons": []})
    shown: Scrape = scrape(url)
    assert shown.value("xinliu_ready") == 1
    assert shown.value("xinliu_server_answers", server="kafka") == 1
    assert shown.value("xinliu_server_asked_timestamp_seconds", server="kafka") == 1.0
    assert requests.get(f"{url}/elsewhere", timeout=5).status_code == 404
    assert url.startswith("http://127.0.0.1:")
