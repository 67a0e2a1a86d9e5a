"""Differences put by hand into real provinces that share records, one after the other, and how long each of them lived.

`python -m tests.chaos.injected` starts four provinces of its own and tells a line a difference: what was done where,
after how many seconds all four held again what was said, and what `xinliu exchange differences` names of it. Exit code
1 where one lived longer than a minute.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import psycopg

from deploy.deadline import wait_until
from tests import warm
from tests.chaos.provinces import FORGED, Four, Province, four, publish
from tests.said import PROVINCES, load
from tests.workers import environment

__all__ = ["INJECTIONS", "LONGEST_SECONDS", "Lived", "differences", "inject", "ready"]

LONGEST_SECONDS = 60.0
_GIVE_UP = 180.0

_OWN = "province = (SELECT province FROM xinliu.installation)"
_ONE = "SELECT ctid FROM record WHERE {whose} AND status = 'IN_FORCE' AND kind = 'PENALTY' ORDER BY record_id LIMIT 1"
_FOREIGN = "province <> (SELECT province FROM xinliu.installation)"


def _of(whose: str) -> dict[str, str]:
    one = _ONE.format(whose=whose)
    return {
        "row deleted": f"DELETE FROM record WHERE ctid = ({one})",
        "row changed": f"UPDATE record SET subject_name = '{FORGED}' WHERE ctid = ({one})",
        "entity changed": f"UPDATE record SET uscc = '91110000M00000000W' WHERE ctid = ({one})",
        "row added": f"CREATE TEMPORARY TABLE forged AS SELECT * FROM record WHERE ctid = ({one});"
        f" UPDATE forged SET record_id = gen_random_uuid(), subject_name = '{FORGED}'; INSERT INTO record SELECT * FROM forged",
    }


_SHARED = "SELECT ctid FROM shared_record WHERE state = 'SHARED' AND status = 'IN_FORCE' AND kind = 'PENALTY' ORDER BY record_id LIMIT 1"
INJECTIONS = {
    **{f"own {what}": query for what, query in _of(_OWN).items()},
    **{f"foreign {what}": query for what, query in _of(_FOREIGN).items()},
    "shared row deleted": f"DELETE FROM shared_record WHERE ctid = ({_SHARED})",
    "shared row changed": f"UPDATE shared_record SET version = version + 7 WHERE ctid = ({_SHARED})",
    "shared row added": "CREATE TEMPORARY TABLE forged AS SELECT * FROM shared_record"
    f" WHERE ctid = ({_SHARED}); UPDATE forged SET record_id = gen_random_uuid(); INSERT INTO shared_record SELECT * FROM forged",
    "shared digest changed": "UPDATE shared_digest SET digest_hi = digest_hi + 1, records = records + 1"
    " WHERE ctid = (SELECT ctid FROM shared_digest WHERE records > 0 LIMIT 1)",
    "foreign digest changed": "UPDATE foreign_digest SET digest_lo = digest_lo + 1"
    " WHERE ctid = (SELECT ctid FROM foreign_digest WHERE records > 0 LIMIT 1)",
    "count changed": "UPDATE credit_view SET records = records + 1, penalties = penalties + 1"
    f" WHERE ctid = (SELECT ctid FROM credit_view WHERE {_OWN} LIMIT 1)",
}
"""By name, what is done to a province's tables: to its own records, to those of others, to what it has shared."""

_DIGESTS = (
    "SELECT domain, partition, records, digest_hi, digest_lo FROM shared_digest WHERE records <> 0 ORDER BY 1, 2",
    "SELECT domain, partition, count(*), bit_xor(digest_hi), bit_xor(digest_lo) FROM shared_record WHERE state = 'SHARED'"
    " GROUP BY 1, 2 ORDER BY 1, 2",
)
_FOREIGN_DIGESTS = (
    "SELECT province, domain, sum(records), bit_xor(digest_hi), bit_xor(digest_lo) FROM foreign_digest WHERE records <> 0"
    " GROUP BY 1, 2 ORDER BY 1, 2",
    f"SELECT province, domain, count(*), bit_xor(digest_hi), bit_xor(digest_lo) FROM record WHERE {_FOREIGN}"
    " AND status <> 'WITHDRAWN' GROUP BY 1, 2 ORDER BY 1, 2",
)
_COUNTS = (
    "SELECT uscc, province, domain, records, penalties, listings FROM credit_view WHERE records <> 0 ORDER BY 1, 2, 3",
    "SELECT uscc, province, domain, count(*), count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'PENALTY'),"
    " count(*) FILTER (WHERE status = 'IN_FORCE' AND kind = 'LISTING' AND listing_removed_on IS NULL)"
    " FROM record WHERE status <> 'WITHDRAWN' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
)


@dataclass(frozen=True, slots=True)
class Lived:
    """One difference: where and what it was, how long it lived, and what is told of it afterwards."""

    province: str
    what: str
    seconds: float
    named: tuple[str, ...]
    """Relation or kind of every difference that the provinces name since it was put there."""


def ready(running: Four, seed: int = 7) -> None:
    """Let all four publish, and wait until all of them hold it."""
    publish(running, load(seed))
    assert wait_until(lambda: not wrong(running), seconds=_GIVE_UP, every=0.5), wrong(running)


def wrong(running: Four) -> list[str]:
    """Return what is not as it must be: in the records, in what is shared, or in the digests and counts kept of them."""
    found = running.differences()
    for name, province in running.provinces.items():
        for kept, counted in (_DIGESTS, _FOREIGN_DIGESTS, _COUNTS):
            if province.rows(kept) != province.rows(counted):
                found.append(f"{name}: {kept[:60]}… is not what its rows make")
    return found


def inject(running: Four, name: str, what: str) -> Lived:
    """Put one difference into a province; return once nothing is wrong any more.

    Raises AssertionError where it does not come to that.
    """
    province = running.provinces[name]
    before = _named(running)
    with psycopg.connect(province.connection.database.get_secret_value(), autocommit=True) as connection:
        connection.execute("SET search_path = g1, xinliu")
        connection.execute(INJECTIONS[what].encode())
    begin = monotonic()
    found: list[str] = ["never looked"]

    def healed() -> bool:
        nonlocal found
        found = wrong(running)
        return not found

    assert wait_until(healed, seconds=_GIVE_UP, every=0.2), (name, what, found)
    seconds = round(monotonic() - begin, 1)
    news = sorted({named for named, count in _named(running).items() if count > before.get(named, 0)})
    return Lived(name, what, seconds, tuple(news))


def _named(running: Four) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, province in running.provinces.items():
        for relation, difference in province.rows("SELECT relation, difference FROM report.row_difference"):
            key = f"{name}: {relation} {difference}"
            counts[key] = counts.get(key, 0) + 1
        for origin, difference in province.rows("SELECT province, difference FROM report.exchange_difference"):
            key = f"{name}: of {origin} {difference}"
            counts[key] = counts.get(key, 0) + 1
    return counts


def differences(province: Province) -> dict[str, list[dict[str, Any]]]:
    """Return what `xinliu exchange differences` says there."""
    ran = warm.run(
        [sys.executable, "-m", "xinliu", "exchange", "differences", "--json", "--limit", "10000"],
        env=environment(province.connection), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stderr
    found: dict[str, list[dict[str, Any]]] = json.loads(ran.stdout)
    return found


def each(running: Four) -> Iterator[Lived]:
    """Put every difference into a province, in turn."""
    for number, what in enumerate(INJECTIONS):
        yield inject(running, PROVINCES[number % len(PROVINCES)], what)


def main() -> int:
    """Tell a line a difference, and the longest at the end."""
    found: list[Lived] = []
    with four(Path(tempfile.mkdtemp(prefix="xinliu-injected-")), clocks_apart=False) as running:
        ready(running)
        for lived in each(running):
            found.append(lived)
            print(json.dumps(asdict(lived), ensure_ascii=False), flush=True)
        told = {name: differences(province) for name, province in running.provinces.items()}
    for name, kinds in told.items():
        print(
            f"xinliu exchange differences in {name}: {', '.join(f'{len(rows)} {kind}' for kind, rows in kinds.items())}"
        )
    waits = sorted(lived.seconds for lived in found)
    print(json.dumps({"differences": len(found), "median_seconds": waits[len(waits) // 2], "longest": waits[-1]}))
    return int(waits[-1] > LONGEST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
