"""What waits in Tianjin's quarantine, all the way: told beside its statements, verified by Beijing's intake, kept by its view."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from schemas.catalogue import load
from schemas.contracts.avro import parsed
from schemas.contracts.codec import decode
from schemas.identifiers.uscc import generate
from schemas.servers.connection import Connection
from streams.exchange.carried.pending_entries import CONTRACT, Pending
from streams.projection.positions import load_catalogue
from tests.exchanges import Sharing, shared
from tests.foreign import refuse
from tests.integration.test_exchange_applying import ENTITIES, Beijing, beijing, tianjin
from tests.viewstore import Store, opened

__all__ = ["beijing", "tianjin"]

GENERATION = 946


def waits(beijing: Beijing) -> list[tuple[str, str, int]]:
    """Return what Beijing takes to be waiting in Tianjin."""
    return beijing.rows(
        "SELECT p.uscc, e.domain, e.open FROM foreign_pending p,"
        " jsonb_to_recordset(p.entries) AS e (domain text, open integer) WHERE p.uscc <> '' ORDER BY 1"
    )


def tell(tianjin: Sharing, pending: Pending, store: Store) -> None:
    """Let Tianjin's publisher make a round of what is due, for the partition that is looked at."""
    due = pending.due(store)
    for message in due:
        if message.partition == tianjin.partition:
            value = dict(decode(parsed(CONTRACT), message.body, parsed(CONTRACT)))
            tianjin.carry(CONTRACT, value, message.key.encode())
    pending.sent(store, due)
    tianjin.checkpoint()


def test_from_one_quarantine_to_the_other_provinces_view(stack: Connection, beijing: Beijing, tianjin: Sharing) -> None:
    uscc, pending = generate(ENTITIES[0]), Pending("tianjin")
    beijing.now = datetime.now(UTC)  # what waits is told with the time of the database's clock
    with opened(stack, GENERATION) as there:
        there.execute("TRUNCATE xinliu.shared_pending")
        load_catalogue(there, load(), "beijing")
        record = shared("tianjin", "津税罚1", entity=ENTITIES[0])
        refuse(there, 1, uscc, record_id=record["record_id"], version=record["version"])
        tell(tianjin, pending, there)
        beijing.take(tianjin.log)
        assert waits(beijing) == [(uscc, "tax", 1)]
        # Let through there: the statement comes first, the entry is over behind it.
        there.execute("UPDATE quarantine SET state = 'REDRIVEN'")
        begun = len(tianjin.log)
        tianjin.say(record)
        tell(tianjin, pending, there)
        beijing.take(tianjin.log[begun:], batches=2)
        assert waits(beijing) == []
        assert beijing.rows("SELECT uscc FROM record") == [(uscc,)]
        # A publisher that begins anew tells everything again, and once more: nothing changes.
        refuse(there, 2, uscc)
        for _ in range(2):
            begun = len(tianjin.log)
            tell(tianjin, Pending("tianjin"), there)
            beijing.take(tianjin.log[begun:])
            assert waits(beijing) == [(uscc, "tax", 1)]
        there.execute("TRUNCATE xinliu.shared_pending")


def test_what_a_province_says_of_another_goes_to_quarantine(beijing: Beijing, tianjin: Sharing) -> None:
    said = {
        "province": "tianjin", "partition": 0, "uscc": generate(ENTITIES[0]), "sequence": 1, "at": tianjin.made_at,
        "entries": [{"domain": "tax", "department": "tax", "open": 1, "since": tianjin.made_at}],
    }  # fmt: skip
    wrong: list[dict[str, Any]] = [{"province": "hebei"}, {"partition": 1}, {"uscc": "张三"}, {"uscc": None}]
    for change in wrong:
        tianjin.carry(CONTRACT, said | change, b"any")
    tianjin.carry(CONTRACT, said, b"good")
    tianjin.checkpoint()
    beijing.take(tianjin.log)
    assert waits(beijing) == [(generate(ENTITIES[0]), "tax", 1)]
    assert len(beijing.out.quarantined) == len(wrong)
