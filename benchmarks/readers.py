"""Cost of the views for readers: the same queries with one generation in the views, and with two.

python -m benchmarks.readers [--records 300000]

The views follow the serving generation. It starts a local stack of its own and removes it again. It prints a line of
JSON for each number of generations: the milliseconds of each query, planned anew each time, and prepared.
"""

from __future__ import annotations

import argparse
import json
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.rig import servers
from schemas.store.database import connect
from schemas.store.generations import create, set_state

__all__ = ["main"]

_FILL = """
INSERT INTO {schema}.record (record_id, version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name, subject_kind,
    province, domain, department, authority, stated_at, known_at, penalty_document_number, penalty_decided_on)
SELECT md5(n::text)::uuid, 1, hashtextextended(n::text, 1), hashtextextended(n::text, 2), 'PENALTY', 'IN_FORCE', 'PUBLISHED',
       'E' || lpad((n %% (%(records)s / 3))::text, 17, '0'), '某公司', '法人及非法人组织', 'beijing', 'tax', 'tax', 'A', now(), now(),
       '税罚' || n, '2026-01-01'
FROM generate_series(1, %(records)s) n
"""
_HISTORY = """
INSERT INTO {schema}.record_history (record_id, version, digest_hi, digest_lo, status, uscc, known_at, accepted_partition,
    accepted_offset, writer, province, department)
SELECT record_id, version, digest_hi, digest_lo, status, uscc, known_at, 0, 0, w.writer, province, department
FROM {schema}.record, {schema}.writer_schema w
"""
_ENTITY = "'E' || lpad((%s)::text, 17, '0')"
QUESTIONS = {
    "penalties of an entity": f"SELECT count(*) FROM report.penalty WHERE uscc = {_ENTITY}",
    "the entity": f"SELECT count(*) FROM report.entity WHERE uscc = {_ENTITY}",
    "states of all domains": f"SELECT count(*) FROM report.domain_state({_ENTITY}, '2025-01-01', '2026-11-01')",
    "history of its records": "SELECT count(*) FROM report.history h WHERE h.record_id IN"
    f" (SELECT record_id FROM report.record_entity WHERE uscc = {_ENTITY})",
}
_ASKED = 300


def main() -> None:
    """Fill, ask and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=300_000, help="of each generation")
    records = parser.parse_args().records
    with (
        servers("readers") as (_, connection),
        connect(connection.database.get_secret_value(), autocommit=True) as owner,
    ):
        _fill(owner, "g1", records)
        print(json.dumps({"generations": 1, "records": records, **_ask(owner, records)}, ensure_ascii=False))
        made = create(owner)
        _fill(owner, made.schema, records)
        set_state(owner, made.number, "READY")
        print(json.dumps({"generations": 2, "records": records, **_ask(owner, records)}, ensure_ascii=False))


def _fill(owner: psycopg.Connection[Any], schema: str, records: int) -> None:
    owner.execute(f"INSERT INTO {schema}.writer_schema (fingerprint, schema) VALUES ('f', '{{}}')")
    owner.execute(_FILL.format(schema=schema), {"records": records})
    owner.execute(_HISTORY.format(schema=schema))
    owner.execute(f"ANALYZE {schema}.record, {schema}.record_history, {schema}.writer_schema")


def _ask(owner: psycopg.Connection[Any], records: int) -> dict[str, list[float]]:
    """Return the milliseconds of each query: planned anew each time, and prepared (the median of each)."""
    found = {}
    for name, query in QUESTIONS.items():
        found[name] = [_median(owner, query, records, prepare=prepare) for prepare in (False, True)]
    return found


def _median(owner: psycopg.Connection[Any], query: str, records: int, *, prepare: bool) -> float:
    times = []
    for n in range(_ASKED):
        began = perf_counter()
        owner.execute(query, (n * 7 % (records // 3),), prepare=prepare).fetchall()
        times.append(perf_counter() - began)
    return round(sorted(times)[_ASKED // 2] * 1000, 2)


if __name__ == "__main__":
    main()
