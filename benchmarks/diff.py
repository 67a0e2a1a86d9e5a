"""Cost of finding two generations equal, and of finding the one entity that differs.

python -m benchmarks.diff [--records 10000000]

Starts a local stack of its own and removes it again. Two generations get the credit views of so many records (two
records to a view, three views to an entity): the comparison of equal generations reads nothing else. Then it runs the
command `xinliu replay diff` three times over equal ones, and once after changing one record of one view. It prints a
line of JSON for each: seconds from start to end, including imports and the servers' answers, and the command's result.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from time import perf_counter
from typing import Any

import psycopg

from benchmarks.rig import servers
from schemas.store.database import connect
from schemas.store.generations import create, set_state

__all__ = ["main"]

_FILL = """
INSERT INTO {schema}.credit_view (uscc, province, domain, records, penalties, listings, digest_hi, digest_lo, changed_at)
SELECT 'E' || lpad((n / 3)::text, 17, '0'), 'beijing', (ARRAY['tax', 'water', 'justice'])[n %% 3 + 1], 2, 2, 0,
       hashint8extended(n, 1), hashint8extended(n, 2), now()
FROM generate_series(0, %(views)s - 1) n
"""


def main() -> None:
    """Fill, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000, help="of each generation")
    records = parser.parse_args().records
    with (
        servers("diff") as (stack, connection),
        connect(connection.database.get_secret_value(), autocommit=True) as owner,
    ):
        _fill(owner, "g1", records // 2)
        made = create(owner)
        _fill(owner, made.schema, records // 2)
        set_state(owner, made.number, "READY")
        for _ in range(3):
            _diff(stack.name, records)
        owner.execute(
            f"UPDATE {made.schema}.credit_view SET digest_lo = digest_lo + 1"
            " WHERE uscc = 'E00000000000000042' AND domain = 'tax'"
        )
        _diff(stack.name, records)


def _fill(owner: psycopg.Connection[Any], schema: str, views: int) -> None:
    owner.execute(_FILL.format(schema=schema), {"views": views})
    owner.execute(f"VACUUM (ANALYZE) {schema}.credit_view")


def _diff(stack: str, records: int) -> None:
    began = perf_counter()
    ran = subprocess.run(
        [sys.executable, "-m", "xinliu", "--stack", stack, "replay", "diff", "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds = round(perf_counter() - began, 2)
    if ran.returncode not in (0, 1):
        raise RuntimeError(ran.stderr)
    said = json.loads(ran.stdout)
    found = {name: said[name] for name in ("equal", "rows", "differing_buckets", "unexplained")}
    print(json.dumps({"records": records, "seconds": seconds, "exit_code": ran.returncode, **found}), flush=True)


if __name__ == "__main__":
    main()
