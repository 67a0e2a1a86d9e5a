"""What a person asks to have replayed: the kind that follows from it, and what cannot be meant."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.catalogue import load
from schemas.errors import UsageError
from schemas.identifiers.uscc import generate
from streams.kafka.scope import CORRECT, REBUILD, REDRIVE, REPUSH, ReplayScope
from streams.replay.plan.request import END, ReplayRequest, resolve_request


def asked(**options: Any) -> tuple[str, ReplayScope]:
    return resolve_request(ReplayRequest(**options), load(), "beijing")


def test_the_kind_follows_from_what_is_asked() -> None:
    assert asked(everything=True) == (REBUILD, ReplayScope())
    assert asked(domains=("tax",)) == (CORRECT, ReplayScope(domains=("tax",)))
    assert asked(domains=("registration",))[0] == CORRECT
    assert asked(province="hebei") == (CORRECT, ReplayScope(province="hebei"))
    assert asked(to="hebei", everything=True) == (REPUSH, ReplayScope(province="hebei"))
    assert asked(to="hebei", bucket="17/8") == (REPUSH, ReplayScope(province="hebei", bucket=(8, 17)))
    assert asked(quarantine=True, codes=("NOT_AVRO",)) == (REDRIVE, ReplayScope(codes=("NOT_AVRO",)))


def test_times_are_chinas_unless_they_say_another_zone() -> None:
    assert asked(since="2026-03-01")[1].since == datetime(2026, 2, 28, 16, tzinfo=UTC)
    assert asked(until="2026-03-01T00:00+00:00")[1].until == datetime(2026, 3, 1, tzinfo=UTC)


def test_offsets_are_ranges_by_partition() -> None:
    assert asked(offsets=("0:3-9", "1:7-", "2"))[1].offsets == {0: (3, 9), 1: (7, END), 2: (0, END)}


@pytest.mark.parametrize(
    "options",
    [
        {}, {"everything": True, "domains": ("tax",)}, {"to": "hebei"}, {"to": "beijing", "everything": True},
        {"to": "hebei", "quarantine": True}, {"codes": ("NOT_AVRO",)}, {"bucket": "1/8", "everything": True},
        {"to": "hebei", "bucket": "1"}, {"to": "hebei", "bucket": "256/8"}, {"to": "hebei", "bucket": "1/13"},
        {"offsets": ("x",)}, {"offsets": ("0:1",)}, {"offsets": ("0:1-2", "0:3-4")}, {"offsets": ("4",)},
        {"offsets": ("0:5-5",)}, {"since": "1 March"}, {"since": "2026-03-02", "until": "2026-03-01"},
        {"departments": ("alchemy",)}, {"domains": ("alchemy",)}, {"entities": ("1",)}, {"quarantine": True, "offsets": ("0",)},
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_a_mistake_that_a_person_can_mend(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        asked(**options)


def test_a_scope_comes_back_from_what_is_kept_of_it() -> None:
    _, scope = asked(
        to="hebei", entities=(generate(1),), since="2026-03-01", offsets=("0:3-9",), bucket="17/8", domains=("tax",)
    )
    assert ReplayScope.from_detail(scope.to_detail()) == scope
