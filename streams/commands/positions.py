"""`xinliu positions`: the offsets of intake and view in the logs, and the way on if a log has lost records."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from time import time
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.console.options import Json
from schemas.console.tables import Wide, print_table
from schemas.console.terminal import Console
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.servers.connection import Connection

__all__ = ["mount"]

positions = typer.Typer(help="Where the workers stand in the logs.", no_args_is_help=True)


_NOTICED = 5.0
"""Seconds until the broker notices the end of a worker's session."""


@dataclass(frozen=True, slots=True)
class WorkerPosition:
    """A worker's position in one partition, as offsets; `lag` is the number of offsets still to be read."""

    worker: str
    topic: str
    partition: int
    next_offset: int | None
    log_first: int
    log_end: int
    lag: int
    remark: str


def _standing(connection: Connection, *, view: bool) -> list[WorkerPosition]:
    # Without the view no database is needed: a host of intake has none.
    from schemas.catalogue import load
    from schemas.store.database import connect
    from streams.kafka.ranges import Logs
    from streams.projection.positions import INTAKE_GROUP, PROJECTED

    logs = Logs(connection.kafka)
    inputs = [department.records_topic for department in load().departments(connection.province)]
    facts = logs.describe([*inputs, *(PROJECTED if view else ())])
    places = [(name, p) for name, known in sorted(facts.items()) for p in range(known.partitions)]
    ranges = logs.ranges(places)
    commits = logs.committed(INTAKE_GROUP, [place for place in places if place[0] not in PROJECTED])
    known: dict[tuple[str, int], tuple[int, str]] = {
        place: (commit.next_offset, commit.topic_id) for place, commit in commits.items()
    }
    if view:
        with connect(connection.database.get_secret_value(), autocommit=True) as store:
            rows = store.execute("SELECT topic, partition, topic_id, next_offset FROM position").fetchall()
        for topic, partition, topic_id, offset in rows:
            known[str(topic), int(str(partition))] = (int(str(offset)), str(topic_id))
    found = []
    for place in places:
        first, end = ranges[place]
        offset, topic_id = known.get(place, (None, ""))
        remark = ""
        if topic_id not in ("", facts[place[0]].topic_id):
            remark = "the topic was made anew since"
        elif offset is not None and not first <= offset <= end:
            remark = (
                f"outside the log: records {offset} to {first - 1} are gone" if offset < first else "beyond the log"
            )
        worker = "view" if place[0] in PROJECTED else "intake"
        lag = end - max(first, offset or 0) if not remark else end - first
        found.append(WorkerPosition(worker, *place, offset, first, end, lag, remark))
    return found


@positions.command("show")
def _show(
    ctx: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Partitions that nothing was ever written to, too.")
    ] = False,
    wide: Wide = False,
    as_json: Json = False,
) -> None:
    """Show each worker's position in each partition, the log's first and last offset, and the lag."""
    found = [row for row in _standing(ctx.obj(), view=True) if everything or row.log_end or row.remark]
    if as_json:
        print(json.dumps([asdict(row) for row in found], ensure_ascii=False))
        return
    rows = [
        (
            row.worker,
            f"{row.topic}/{row.partition}",
            "-" if row.next_offset is None else str(row.next_offset),
            f"{row.log_first}…{row.log_end}",
            str(row.lag),
            row.remark,
        )
        for row in found
    ]
    titles = ("worker", "partition", "stands at", "log holds", "behind", "remark")
    print_table(Console(), titles, rows, least=("log holds", "stands at"), text=("remark",), wide=wide)


@positions.command("accept-loss")
def _accept_loss(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(help="records.<department>")],
    partition: Annotated[int, typer.Argument(help="Partition of the topic.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the quarantine entry.")],
    as_json: Json = False,
) -> None:
    """Let intake go on although records were deleted before it took them over.

    The loss becomes an open quarantine entry of the department. Until somebody has had the records published again and
    closes the entry, the department's *data as of* does not advance, and 无 is not reported in its domains. Stop the
    intake workers first. If Kafka authenticates its clients, this needs intake's credentials. If two people are
    required, one proposes it by giving this command with a principal of his own, and another approves that (`xinliu
    approve`).
    """
    from schemas.contracts.registry import Registry
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator_event
    from schemas.operations.two_people import require_two
    from streams.forwarding.findings import finding
    from streams.forwarding.forwarder import Forwarder
    from streams.kafka.headers import FINDINGS, ORIGIN, Origin
    from streams.kafka.ranges import Committed, Logs
    from streams.projection.positions import INTAKE_GROUP

    if not topic.startswith("records."):
        raise UsageError(f"{topic} is no department's topic: only what intake reads can be passed over")
    connect: Callable[[], Connection] = ctx.obj
    # As intake, in whose place this writes and commits: the operator may do neither.
    operators = connect()
    connection = operators.acting("intake")
    row = next((s for s in _standing(connection, view=False) if (s.topic, s.partition) == (topic, partition)), None)
    if row is None:
        raise UsageError(f"there is no {topic}/{partition}")
    if not row.remark and (row.next_offset is not None or row.log_first == 0):
        raise UsageError(f"{topic}/{partition} has lost nothing: intake stands at {row.next_offset or 0} and can go on")
    logs = Logs(connection.kafka)
    facts = logs.describe([topic, "accepted", "quarantine"])
    begin = row.next_offset if row.next_offset is not None and row.next_offset < row.log_first else 0
    # Written before the commit moves: if this is cut off between the two, intake still refuses to go on.
    lost = finding("LOST_RECORDS", detail=f"{topic}/{partition} {begin}–{max(row.log_first - 1, begin)}; {reason}")
    entry = {
        "received_at": round(time() * 1000),
        "uscc": None,
        "domain": None,
        "record_id": None,
        "version": None,
        "findings": [lost],
    }
    about = {
        "topic": topic, "topic_id": facts[topic].topic_id, "partition": partition, "begin": begin, "goes_on_at": row.log_first,
    }  # fmt: skip
    proposal = require_two(operators, "ACCEPT_LOSS", about, reason)
    held = logs.committed(INTAKE_GROUP, [(topic, partition)]).get((topic, partition))
    if held is not None:
        # The broker refuses this while workers run, before anything is written.
        try:
            logs.commit(INTAKE_GROUP, (topic, partition), held)
        except UsageError:
            forgotten = connection.times.session + _NOTICED
            print(f"waiting up to {forgotten:.0f} s for intake workers that were just stopped …", file=sys.stderr)
            logs.commit(INTAKE_GROUP, (topic, partition), held, patience=forgotten)
    with Registry(connection.registry) as registry:
        forwarder = Forwarder(
            connection.kafka,
            registry,
            accepted_partitions=facts["accepted"].partitions,
            quarantine_partitions=facts["quarantine"].partitions,
        )
        origin = Origin(topic, facts[topic].topic_id, partition, begin).to_bytes()
        forwarder.quarantine(b"", [(ORIGIN, origin), (FINDINGS, json.dumps(entry, ensure_ascii=False).encode())])
        forwarder.flush()
        detail = {
            **about,
            "before": {"next_offset": row.next_offset},
            "after": {"next_offset": row.log_first},
            **({"proposal": proposal} if proposal is not None else {}),
        }
        department = topic.removeprefix("records.")
        event = operator_event(operators.kafka, "POSITION_LOSS_ACCEPTED", reason, detail, department=department)
        OperationsWriter(operators.kafka, registry).write(event)
    logs.commit(INTAKE_GROUP, (topic, partition), Committed(row.log_first, facts[topic].topic_id))
    if as_json:
        print(json.dumps({"topic": topic, "partition": partition, "goes_on_at": row.log_first}))
        return
    print(
        f"{topic}/{partition}: intake goes on at {row.log_first}. The loss is in the quarantine: the department's data as of"
        " stands still until the entry is closed."
    )


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(positions, name="positions")
