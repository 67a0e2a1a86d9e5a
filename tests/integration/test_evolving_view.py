"""docs/evolution.md, driven: a computed column comes by rebuild and promote, while old and new code run side by side."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from deploy.deadline import wait_until
from schemas.servers.connection import Connection
from streams.replay.generations.promotion import Promotion
from tests import newer
from tests.generations import owner, rebuilt, serving
from tests.statements import framed, penalty, put, state
from tests.workers import Worker

ENTITIES = 7


def publish(connection: Connection, numbers: range) -> None:
    """Publish penalties of 1.5 万元 each."""
    told = [penalty(f"列{n}", entity=n % ENTITIES, fine=Decimal("1.5")) for n in numbers]
    put(connection, "records.tax", framed(connection, told))


def read(connection: Connection, query: str) -> list[Any]:
    """Return the rows that a reader's query brings."""
    with owner(connection) as store:
        return store.execute(query).fetchall()


def folded(connection: Connection, records: int) -> bool:
    """Tell whether so many penalties can be read."""
    return read(connection, "SELECT count(*) FROM report.penalty")[0][0] == records


WRONG = """
SELECT v.uscc, v.fines, p.fines
FROM report.credit_view v
JOIN (SELECT uscc, domain, sum(fine) AS fines FROM report.penalty GROUP BY 1, 2) p USING (uscc, domain)
WHERE v.fines IS DISTINCT FROM p.fines
"""


@pytest.mark.timeout(580)
def test_a_computed_column_comes_by_rebuild_and_promote(own_stack: Connection, tmp_path: Path) -> None:
    first = serving(own_stack)
    running = [Worker(own_stack, name, tmp_path) for name in ("intake", "view")]
    intake, old = running
    try:
        publish(own_stack, range(40))
        assert wait_until(lambda: folded(own_stack, 40), seconds=240), old.log[-3000:]

        # The new release: its rebuild makes a generation that has the column; readers may name it from then on.
        with newer.upgraded():
            replay, second = rebuilt(own_stack)
        with owner(own_stack) as store:
            store.execute(newer.REPORT)
        assert read(own_stack, "SELECT count(*), count(fines) FROM report.credit_view") == [(ENTITIES, 0)]

        # Its workers start beside the old ones, and fold with them what serves still.
        (tmp_path / "new").mkdir()
        new = Worker(own_stack, "view", tmp_path / "new", module="tests.newer")
        running.append(new)
        assert wait_until(lambda: "view.folds" in new.log, seconds=240), new.log[-3000:]
        publish(own_stack, range(40, 80))
        assert wait_until(lambda: folded(own_stack, 80), seconds=240), new.log[-3000:]

        with newer.upgraded(), Promotion(own_stack, by="tester@here") as promoting:
            promoting.promote(replay, "罚款合计")
        assert old.wait(200) == 2, "code that does not know the column must not fold where it is"
        assert f"generation {second} was made by a newer xinliu" in old.log
        publish(own_stack, range(80, 120))
        revoked = [state(penalty(f"列{n}", entity=n % ENTITIES), "REVOKED", version=9) for n in range(0, 120, 20)]
        put(own_stack, "records.tax", framed(own_stack, revoked))
        assert wait_until(lambda: folded(own_stack, 120 - len(revoked)), seconds=240), new.log[-3000:]
        assert read(own_stack, WRONG) == []
        assert read(own_stack, "SELECT count(*), count(fines) FROM report.credit_view") == [(ENTITIES, ENTITIES)]

        with newer.upgraded(), Promotion(own_stack, by="tester@here") as promoting:
            assert promoting.rollback("罚款合计算错了").new == first
        publish(own_stack, range(120, 140))
        assert wait_until(lambda: folded(own_stack, 140 - len(revoked)), seconds=240), new.log[-3000:]
        assert read(own_stack, "SELECT count(*), count(fines) FROM report.credit_view") == [(ENTITIES, 0)]
        assert (intake.runs, new.runs) == (True, True)
    finally:
        for worker in running:
            if worker.runs:
                worker.stop()
