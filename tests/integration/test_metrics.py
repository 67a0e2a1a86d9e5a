"""What the workers show on real servers, held against what was published."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer

from deploy.deadline import wait_until
from producers.receipts import Receipts
from schemas.contracts.codec import encode, frame
from schemas.servers.connection import Connection
from schemas.store.database import connect
from streams.monitoring.metrics import METRICS, Kind
from tests.exposition import Scrape, address, is_ready, judged, scrape
from tests.offline import INTAKE_GROUP, lag, view_caught_up
from tests.statements import framed, penalty, put, registered
from tests.workers import Worker, environment

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.stack import Stack

TOPIC = "records.tax"
Shown = dict[str, str]


@pytest.fixture(scope="module")
def shown(stack: Connection, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Both workers, ready, each with the address where it shows itself."""
    folder = tmp_path_factory.mktemp("workers")
    running = [Worker(stack, name, folder, "--metrics-port", "0") for name in ("intake", "view")]
    try:
        addresses = {worker.name: address(worker) for worker in running}
        for worker in running:
            ready = addresses[worker.name]
            assert wait_until(lambda ready=ready: judged(ready, "ready")[0] == 200, seconds=60), (
                judged(ready, "ready"),
                worker.log[-3000:],
            )
        yield addresses
    finally:
        for worker in running:
            if worker.runs:
                assert worker.stop() == 0, worker.log[-3000:]


def markers(connection: Connection) -> dict[int, int]:
    """Write a marker to both partitions of the topic; return their offsets."""
    value = {"department": "tax", "marker_id": uuid.uuid4().hex, "as_of": datetime.now(UTC)}
    message = frame(registered(connection.registry, "xinliu.Marker"), encode("xinliu.Marker", value))
    return {partition: put(connection, TOPIC, [message], partition=partition)[0][1] for partition in (0, 1)}


def publish(connection: Connection, values: list[bytes | None]) -> None:
    """Write messages, and wait until all of them is visible."""
    receipts = Receipts(connection.kafka, connection.registry, "tax")
    try:
        put(connection, TOPIC, values)
        for _ in receipts.watch_past(markers(connection), 60.0):
            continue
    finally:
        receipts.close()


def settled(shown: Shown, connection: Connection) -> tuple[Scrape, Scrape]:
    """Wait until nothing lags, as the workers say who have asked since; return what both show then."""

    began = time()

    def nothing_lags() -> bool:
        intake, view = scrape(shown["intake"]), scrape(shown["view"])
        asked = "xinliu_server_asked_timestamp_seconds"
        return (
            all(said.value(asked, server="kafka") > began for said in (intake, view))
            and view.value(asked, server="postgres") > began
            and intake.total("xinliu_intake_lag_messages") == 0
            and view.total("xinliu_view_lag_messages") == 0
            and view.value("xinliu_outbox_rows") == 0
            and view_caught_up(connection)
        )

    assert wait_until(nothing_lags, seconds=60, every=1.0), _lags(shown)
    return scrape(shown["intake"]), scrape(shown["view"])


def _lags(shown: Shown) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    return {
        name: {k: v for k, v in scrape(url).series(f"xinliu_{name}_lag_messages").items() if v}
        for name, url in shown.items()
    }


def test_the_figures_are_those_of_what_was_published(stack: Connection, shown: Shown) -> None:
    run = uuid.uuid4().hex[:8]
    good = framed(stack, [penalty(f"数{run}-{n}", entity=730_000 + n) for n in range(40)])
    flagged = framed(stack, [penalty(f"标{run}-{n}", entity=731_000 + n, fine=None) for n in range(3)])
    refused = framed(stack, [penalty(f"坏{run}-{n}", entity=732_000 + n, categories="批评教育") for n in range(4)])
    intake_before, view_before = settled(shown, stack)
    began = datetime.now(UTC).timestamp()
    publish(stack, [*good, *flagged, *refused, b"not avro", b"nor this"])
    publish(stack, list(good[:5]))  # exact duplicates: forwarded and folded again, changing nothing
    intake_after, view_after = settled(shown, stack)

    def intake(name: str, **labels: str) -> float:
        return intake_after.total(name, **labels) - intake_before.total(name, **labels)

    def view(name: str, **labels: str) -> float:
        return view_after.total(name, **labels) - view_before.total(name, **labels)

    assert intake("xinliu_intake_accepted_total", department="tax") == 48
    assert intake("xinliu_intake_refused_total", department="tax") == 6
    assert intake("xinliu_intake_accepted_total") == 48, "no other department has said anything"
    for code, outcome, messages in (
        ("FINE_WITHOUT_AMOUNT", "flagged", 3),
        ("NOT_AVRO", "refused", 2),
        ("CATEGORY", "refused", 4),
    ):
        assert intake("xinliu_intake_findings_total", department="tax", code=code, outcome=outcome) == messages
    assert intake("xinliu_intake_batch_messages_sum") == 48 + 6 + 4, "four markers among them"
    assert 1 <= intake("xinliu_intake_batch_seconds_count") <= 58
    assert intake("xinliu_intake_batch_seconds_sum") > 0

    assert view("xinliu_view_statements_total", department="tax") == 48
    assert view("xinliu_view_findings_total", department="tax", code="FINE_WITHOUT_AMOUNT", outcome="flagged") == 3
    assert view("xinliu_view_visible_seconds_count", department="tax") == 48
    assert view("xinliu_view_visible_seconds_bucket", department="tax", le="60.0") == 48
    assert 0 < view("xinliu_view_visible_seconds_sum", department="tax") < 48 * 60
    assert view("xinliu_view_transaction_rows_sum") == view("xinliu_view_position"), "every message, once"
    assert view("xinliu_view_transaction_rows_sum") >= 48 + 6
    assert view("xinliu_view_transaction_seconds_count") == view("xinliu_view_transaction_rows_count") > 0
    assert view("xinliu_quarantine_open", department="tax") == 6
    assert view("xinliu_relay_messages_total", kind="receipt") >= 1
    assert view("xinliu_relay_messages_total", kind="change") >= 43
    assert view("xinliu_retries_total") == intake("xinliu_retries_total") == 0
    assert view("xinliu_view_rereads_total") == 0

    with connect(stack.database.get_secret_value(), autocommit=True) as store:
        sources = store.execute(
            "SELECT department, data_as_of, open_quarantine, silent, state FROM report.source"
        ).fetchall()
        positions = store.execute("SELECT topic, partition, next_offset FROM position").fetchall()
    for department, as_of, waiting, silent, state in sources:
        labels = frozenset({("department", str(department))})
        told = view_after.series("xinliu_source_as_of_timestamp_seconds").get(labels)
        assert told == (pytest.approx(as_of.timestamp()) if isinstance(as_of, datetime) else None)
        assert view_after.value("xinliu_quarantine_open", department=str(department)) == waiting
        assert view_after.value("xinliu_source_silent", department=str(department)) == float(bool(silent))
        assert ("正常", "迟", "中断")[int(view_after.value("xinliu_source_state", department=str(department)))] == state
    assert view_after.series("xinliu_view_position") == {
        frozenset({("topic", str(topic)), ("partition", str(partition))}): offset
        for topic, partition, offset in positions
    }
    # What cannot be read may be about anyone: it holds the source back to when it came.
    assert view_after.value("xinliu_source_as_of_timestamp_seconds", department="tax") <= began + 60


def test_each_worker_shows_its_part_of_the_list_and_nothing_else(stack: Connection, shown: Shown) -> None:
    publish(stack, [b"not avro"])
    settled(shown, stack)
    for name, url in shown.items():
        families = scrape(url).families
        ours = {m.name.removesuffix("_total") if m.kind is Kind.COUNTER else m.name: m for m in METRICS}
        wanted = {family for family, metric in ours.items() if name in metric.workers}
        assert {family for family in families if family.startswith("xinliu_")} == wanted
        for family in wanted:
            assert families[family] == (ours[family].kind, ours[family].help)
        labels = {
            (sample, frozenset(key for key, _ in pairs if key != "le"))
            for sample, pairs in scrape(url).samples
            if sample.startswith("xinliu_")
        }
        expected = {(sample, frozenset(m.labels)) for m in METRICS if name in m.workers for sample in m.series}
        assert labels <= expected


def test_a_department_that_uses_transactions_leaves_no_lag_behind(stack: Connection, shown: Shown) -> None:
    run = uuid.uuid4().hex[:8]
    values = framed(stack, [penalty(f"事{run}-{n}", entity=733_000 + n) for n in range(6)])
    before, _ = settled(shown, stack)
    producer = Producer(stack.kafka.client({"transactional.id": f"test-{run}"}))
    producer.init_transactions(30)
    for part, keeps in ((values[:4], True), (values[4:], False)):
        producer.begin_transaction()
        for value in part:
            producer.produce("records.finance", value, key=b"k", partition=0)
        assert producer.flush(30) == 0
        (producer.commit_transaction if keeps else producer.abort_transaction)(30)
    assert wait_until(
        lambda: (
            scrape(shown["intake"]).total("xinliu_intake_refused_total", department="finance")
            == before.total("xinliu_intake_refused_total", department="finance") + 4
        ),
        seconds=30,
    ), "they are another department's: refused, all that were committed"
    settled(shown, stack)
    assert lag(stack, INTAKE_GROUP, ["records.finance"]) > 0, "counted to the commit it would stay for good"


def test_a_database_that_is_gone_makes_the_view_unready_and_not_unhealthy(
    local_stack: Stack, stack: Connection, shown: Shown
) -> None:
    run = uuid.uuid4().hex[:8]
    settled(shown, stack)
    before = scrape(shown["view"])
    values = framed(stack, [penalty(f"停{run}-{n}", entity=734_000 + n) for n in range(10)])
    local_stack.kill("postgres")
    try:
        put(stack, TOPIC, list(values))
        assert wait_until(lambda: judged(shown["view"], "ready")[0] == 503, seconds=30)

        def noticed() -> bool:
            now = scrape(shown["view"])
            return (
                now.value("xinliu_retries_total", server="postgres")
                > before.value("xinliu_retries_total", server="postgres")
                and now.value("xinliu_server_answers", server="postgres") == 0
                and now.total("xinliu_view_lag_messages") >= 10
            )

        assert wait_until(noticed, seconds=60), scrape(shown["view"]).series("xinliu_retries_total")
        status, told = judged(shown["view"], "ready")
        assert (status, told["ready"]) == (503, False)
        assert any(reason.startswith("postgres: ") for reason in told["reasons"])
        assert scrape(shown["view"]).value("xinliu_ready") == 0
        assert judged(shown["view"], "health")[0] == 200, "a restart would mend nothing"
    finally:
        local_stack.start("postgres")
    assert wait_until(lambda: judged(shown["view"], "ready")[0] == 200, seconds=90), judged(shown["view"], "ready")
    _, view = settled(shown, stack)
    assert view.value("xinliu_ready") == 1
    assert (
        view.total("xinliu_view_statements_total", department="tax")
        == before.total("xinliu_view_statements_total", department="tax") + 10
    ), "what was tried several times is counted once"


def test_a_taken_port_ends_in_one_line(stack: Connection) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "xinliu", "worker", "intake", "--metrics-port", str(port)],
            env=environment(stack),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"xinliu: cannot serve metrics on 127.0.0.1:{port} (Address already in use): choose another with --metrics-port"
    ]


def test_the_workers_of_a_local_stack_show_themselves_where_status_says(
    local_stack: Stack, stack: Connection, tmp_path: Path
) -> None:
    local_stack.up()
    try:
        addresses = {s.name: s.address for s in local_stack.status() if s.name.startswith("worker-")}
        assert list(addresses) == [f"worker-{name}" for name in local_stack.layout.workers]
        for name, found in addresses.items():
            assert found is not None
            url = found.removesuffix("/metrics")
            assert wait_until(lambda url=url: is_ready(url), seconds=90), url
            parts = [f"{url}/intake", f"{url}/view"] if name == "worker-province" else [url]
            assert [scrape(part).value("xinliu_ready") for part in parts] == [1] * len(parts)
    finally:
        local_stack.down()
        local_stack.up(workers=False)
