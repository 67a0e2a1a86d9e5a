"""Cost of a comparison: one department's records among others', counted and named, in a PostgreSQL of its own.

python -m benchmarks.reconcile [--records 1000000] [--others 1000000]

Starts a local stack of its own and removes it again. Prints one line a step, in seconds; the last lines are with an
index by department, domain and kind, and the cost of that index for writers of records.
"""

from __future__ import annotations

import argparse
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.rig import servers
from schemas.store.database import connect
from schemas.store.sql_files import sql

__all__ = ["main"]

_FILL = """
INSERT INTO record (record_id, version, digest_hi, digest_lo, kind, status, reason, uscc, subject_name, subject_kind, province,
    domain, department, authority, stated_at, known_at, penalty_document_number, penalty_violation_type, penalty_facts,
    penalty_basis, penalty_categories, penalty_content, penalty_fine, penalty_decided_on, penalty_valid_until,
    penalty_authority_name, penalty_source_unit, penalty_source_unit_code)
SELECT gen_random_uuid(), n, hashint8extended(n, 1), hashint8extended(n, 2), 'PENALTY', 'IN_FORCE', 'PUBLISHED',
    lpad((n %% 100000)::text, 18, '9'), '北京某某商贸有限公司', '法人及非法人组织', 'beijing', %(department)s, %(department)s,
    '11110000M0001017XK', '2021-01-01'::timestamptz + n %% 1900 * interval '1 day', '2026-01-01', '京税罚' || n, '未按期申报',
    '未按照规定的期限办理纳税申报', '《中华人民共和国税收征收管理法》第六十二条', '罚款', '罚款2000元', 0.2, '2025-01-01',
    '2099-12-31', '国家税务总局北京市税务局', '国家税务总局北京市税务局', '11110000M0001017XK'
FROM generate_series(1, %(count)s) AS n
"""
_SCOPE = {"province": "beijing", "department": "tax", "domain": "tax", "kind": "PENALTY", "bits": 12}
_INDEX = "CREATE INDEX record_source ON record (department, domain, kind)"

Store = psycopg.Connection[tuple[Any, ...]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="of the department")
    parser.add_argument("--others", type=int, default=1_000_000, help="of other departments")
    given = parser.parse_args()
    with (
        servers("reconcile") as (_, connection),
        connect(connection.database.get_secret_value(), generation=1, autocommit=True) as store,
    ):
        _measure(store, given.records, given.others)


def _measure(store: Store, records: int, others: int) -> None:
    for department, count in (("tax", records // 2), ("water", others), ("tax", records - records // 2)):
        _timed(f"fill {count:,} of {department}", store, _FILL, {"department": department, "count": count})
    store.execute("VACUUM ANALYZE record")
    months = {"from": "2025-01-01+08", "before": "2025-02-01+08"}
    _sum_up(store, months)
    bucket = {"lows": ["abc00000-0000-0000-0000-000000000000"], "highs": ["abcfffff-ffff-ffff-ffff-ffffffffffff"]}
    store.execute(sql("reconciliation/stage"))
    everything = {**_SCOPE, "from": None, "before": None, "cutoff": "2026-02-01+00", "most": 20_000, **bucket}
    _timed("name the records of one bucket", store, sql("reconciliation/unstated"), everything)
    _timed("index", store, _INDEX, {})
    _timed("fill 200,000 of tax, with the index", store, _FILL, {"department": "tax", "count": 200_000})
    store.execute("VACUUM ANALYZE record")
    _sum_up(store, months)
    store.execute("DROP INDEX record_source")
    _timed("fill 200,000 of tax, without it", store, _FILL, {"department": "tax", "count": 200_000})


def _sum_up(store: Store, months: dict[str, str]) -> None:
    for name, bounds in (("everything", {"from": None, "before": None}), ("one month", months)):
        for again in ("", " again"):
            _timed(f"sum up {name}{again}", store, sql("reconciliation/held"), {**_SCOPE, **bounds})


def _timed(what: str, store: Store, query: str, values: dict[str, Any]) -> None:
    began = perf_counter()
    done = store.execute(query, values)
    rows = len(done.fetchall()) if done.description else done.rowcount
    print(f"{perf_counter() - began:8.3f} s  {what} ({rows:,} rows)", flush=True)


if __name__ == "__main__":
    main()
