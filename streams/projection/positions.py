"""Positions from which workers resume, checked against the logs.

The view's positions are in PostgreSQL; intake's are the offsets that its consumer group has committed to Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

import psycopg
import structlog

from schemas.catalogue import Catalogue
from schemas.errors import PositionLost, UsageError
from schemas.records.registration import DOMAIN
from streams.kafka.ranges import Logs, TopicFacts
from streams.projection.time_rules import load_time

__all__ = ["INTAKE_GROUP", "PROJECTED", "load_catalogue", "prepare", "resume", "resume_intake"]

PROJECTED = ("accepted", "quarantine")
"""The topics that the view folds."""

INTAKE_GROUP = "xinliu-intake"
"""Consumer group of the intake workers; its committed offsets are intake's position."""

log = structlog.get_logger()

Connection = psycopg.Connection[tuple[Any, ...]]


def prepare(connection: Connection, facts: Mapping[str, TopicFacts], sources: Mapping[str, TopicFacts]) -> None:
    """Enter a position for every partition of the projected topics that has none, and the expected input topics.

    `sources` maps a department's key to its topic. Existing positions never change here.
    """
    with connection.transaction():
        for topic in PROJECTED:
            known = facts[topic]
            connection.execute(
                "INSERT INTO position (topic, topic_id, partition, next_offset)"
                " SELECT %s, %s, p, 0 FROM generate_series(0, %s - 1) AS p ON CONFLICT DO NOTHING",
                (topic, known.topic_id, known.partitions),
            )
        connection.execute("DELETE FROM source WHERE department <> ALL(%s)", (list(sources),))
        for department, source in sources.items():
            connection.execute(
                "INSERT INTO source (topic, topic_id, department, partitions) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (topic) DO UPDATE SET topic_id = excluded.topic_id, partitions = excluded.partitions",
                (source.name, source.topic_id, department, source.partitions),
            )


def load_catalogue(connection: Connection, catalogue: Catalogue, province: str) -> None:
    """Write this worker's catalogue for readers: domains, their sources, lists, provinces, limits, rules on time; and
    the province whose database this is.

    Raises UsageError if it is another province's.
    """
    with connection.transaction():
        # Deleted, not truncated: a reader with an older snapshot must find the former rows. One worker at a time.
        connection.execute("LOCK xinliu.domain IN SHARE ROW EXCLUSIVE MODE")
        for table in ("domain", "domain_source", "list", "province", "heartbeat", "mutual_domain", "silence"):
            connection.execute(f"DELETE FROM xinliu.{table}")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO xinliu.domain (domain, name_zh, display_label, effective_from, effective_to)"
                " VALUES (%s, %s, %s, %s, %s)",
                [(d.key, d.name_zh, d.display_label, d.effective_from, d.effective_to) for d in catalogue.domains()],
            )
            cursor.executemany(
                "INSERT INTO xinliu.domain_source (domain, department, name_zh) VALUES (%s, %s, %s)",
                [
                    (key, d.key, d.name_zh)
                    for d in catalogue.departments(province)
                    for key in (*d.domains, *((DOMAIN,) if d.registers else ()))
                ],
            )
            cursor.executemany(
                "INSERT INTO xinliu.list (list, name_zh, domain) VALUES (%s, %s, %s)",
                [(key, row.name_zh, row.domain) for key, row in catalogue.lists.items()],
            )
            cursor.executemany(
                "INSERT INTO xinliu.province (province, name_zh, division) VALUES (%s, %s, %s)",
                [(key, row.name_zh, row.division) for key, row in catalogue.provinces.items()],
            )
            cursor.executemany(
                "INSERT INTO xinliu.mutual_domain (domain, effective_from, effective_to) VALUES (%s, %s, %s)",
                [(row.domain, row.effective_from, row.effective_to) for row in catalogue.mutual],
            )
            cursor.executemany(
                "INSERT INTO xinliu.silence (province, effective_from, effective_to, silent_after)"
                " VALUES (%s, %s, %s, make_interval(secs => %s))",
                [
                    (one.province, one.effective_from, one.effective_to, one.silent_after.total_seconds())
                    for one in catalogue.silences
                ],
            )
            cursor.executemany(
                # In seconds: a day is 24 hours, whatever the session's time zone.
                "INSERT INTO xinliu.heartbeat (department, effective_from, effective_to, expected_every, silent_after)"
                " VALUES (%s, %s, %s, make_interval(secs => %s), make_interval(secs => %s))",
                [
                    (h.department, h.effective_from, h.effective_to, *_seconds(h.expected_every, h.silent_after))
                    for h in catalogue.limits(province)
                ],
            )
        load_time(connection, catalogue.time)
        connection.execute("INSERT INTO xinliu.installation (province) VALUES (%s) ON CONFLICT DO NOTHING", (province,))
        row = connection.execute("SELECT province FROM xinliu.installation").fetchone()
        assert row is not None
        if row[0] != province:
            raise UsageError(f"the database is of {row[0]}, and this worker of {province}: their records would mix")


def _seconds(*spans: timedelta) -> tuple[float, ...]:
    return tuple(span.total_seconds() for span in spans)


def resume(
    connection: Connection, logs: Logs, facts: Mapping[str, TopicFacts], partitions: Iterable[tuple[str, int]]
) -> dict[tuple[str, int], int]:
    """Return the position of each of these partitions.

    Raises PositionLost if a position belongs to another topic of that name, or lies outside the log: resuming there
    would skip statements in silence.
    """
    wanted = set(partitions)
    with connection.transaction():
        rows = connection.execute("SELECT topic, partition, topic_id, next_offset FROM position").fetchall()
    held = {(topic, partition): (topic_id, offset) for topic, partition, topic_id, offset in rows}
    ranges = logs.ranges(sorted(wanted))
    for topic, partition in sorted(wanted):
        topic_id, offset = held[topic, partition]
        first, end = ranges[topic, partition]
        if topic_id != facts[topic].topic_id:
            raise PositionLost(
                f"the topic {topic} is not the one this database was built from (topic id {facts[topic].topic_id},"
                f" database: {topic_id}): restore the topic, or the database of that topic with `xinliu restore`"
            )
        if not first <= offset <= end:
            raise PositionLost(
                f"{topic}/{partition}: the database stands at offset {offset}, the log holds {first} to {end}:"
                " the log lost messages or another log is behind this address; restore the log, or a database that fits it with"
                " `xinliu restore`"
            )
    return {partition: held[partition][1] for partition in wanted}


def resume_intake(
    logs: Logs,
    facts: Mapping[str, TopicFacts],
    partitions: Iterable[tuple[str, int]],
    stopped: Callable[[str], bool] = lambda _topic: False,
) -> tuple[dict[tuple[str, int], int], frozenset[tuple[str, int]]]:
    """Return the offset at which intake resumes in each of these partitions, and the partitions that lost records.

    Intake reads a topic that was deleted and created anew from its beginning. Raises PositionLost if records were
    deleted before intake took them over, or may have been: resuming would lose them in silence. A topic that is
    `stopped` does not resume anyway, and must not stop the others if its log is full: its partition is returned as
    lost. Intake may commit and claim nothing of it before a person has accepted the loss.
    """
    wanted = sorted(set(partitions))
    lost = set[tuple[str, int]]()
    if not wanted:
        return {}, frozenset()
    ranges, commits = logs.ranges(wanted), logs.committed(INTAKE_GROUP, wanted)
    found = {}
    for place in wanted:
        topic, partition = place
        first, end = ranges[place]
        known = commits.get(place)
        if known is not None and known.topic_id not in ("", facts[topic].topic_id):
            log.warning(
                "intake.topic_made_anew",
                topic=topic,
                partition=partition,
                goes_on_at=first,
                was=known.topic_id,
                now=facts[topic].topic_id,
            )
            known = None
        offset = 0 if known is None else known.next_offset
        if offset < first:
            why = (
                f"{topic}/{partition}: records {offset} to {first - 1} were deleted before intake took them over (is the"
                f" retention shorter than intake was away?): have the department publish them again, and let intake go"
                f" on with `xinliu positions accept-loss {topic} {partition}`"
            )
            if not stopped(topic):
                raise PositionLost(why)
            log.error("intake.lost_while_stopped", topic=topic, partition=partition, why=why)
            lost.add(place)
            found[place] = first
            continue
        if offset > end:
            raise PositionLost(
                f"{topic}/{partition}: intake had reached {offset}, the log ends at {end}: the broker lost messages, or"
                " another log is behind this address; restore the broker's data, or let intake read this log from its"
                f" beginning with `xinliu positions accept-loss {topic} {partition}`"
            )
        found[place] = offset
    return found, frozenset(lost)
