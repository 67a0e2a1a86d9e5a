"""What four provinces say, seed by seed, and what they must share after it: a model that knows no SQL, no Kafka and no order."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from schemas.calendar.periods import china_day
from schemas.catalogue import load as load_catalogue
from schemas.contracts.codec import encode
from schemas.records.identity import digest
from schemas.records.registration import KIND
from tests.statements import Statement, penalty, registration, state

__all__ = ["PROVINCES", "Held", "Key", "Wanted", "load", "should_be_shared"]

PROVINCES = ("beijing", "tianjin", "hebei", "shanxi")
_ENTITIES = 24
_CATALOGUE = load_catalogue()

Key = tuple[str, str]
"""record_id, department: a record of one province."""
Held = tuple[int, int, int, str, str]
"""version, digest (two halves), status, uscc."""


@dataclass
class Wanted:
    """What a province must share, and what it may.

    A repair or revocation carries no content: it is told where the record had been shared before it came, and then
    stays.
    """

    must: dict[Key, Held] = field(default_factory=dict)
    may: dict[Key, Held] = field(default_factory=dict)

    def wrong(self, shared: Mapping[Key, Held]) -> str:
        """Return in words what of this should not be so; nothing where all is well."""
        missing = [key for key in self.must if key not in shared]
        other = [key for key, held in shared.items() if held != (self.must | self.may).get(key)]
        return (
            f"{len(missing)} missing, {len(other)} otherwise, e.g. {[*missing[:1], *other[:1]]}"
            if missing or other
            else ""
        )


def should_be_shared(said: Sequence[Statement]) -> dict[str, Wanted]:
    """Return, by province, what it must share after all this was said, in whatever order it came."""
    newest: dict[tuple[str, Key], tuple[tuple[int, int, int], Statement]] = {}
    for one in said:
        rank = one["version"], *digest(encode("xinliu.Statement", one))
        key = one["province"], (one["record_id"], one["department"])
        if key not in newest or newest[key][0] < rank:
            newest[key] = rank, one
    today = china_day(datetime.now(UTC))
    registered: dict[str, tuple[date, tuple[int, int, int], date | None]] = {}
    for rank, one in newest.values():
        if one["kind"] == KIND and one["status"] == "IN_FORCE":
            body, uscc = one["registration"], one["subject"]["uscc"]
            current = body["since"], rank, body.get("until")
            registered[uscc] = max(registered.get(uscc, current), current, key=lambda known: known[:2])
    divisions = {row.division for row in _CATALOGUE.provinces.values()}
    mutual = _CATALOGUE.mutual_domains(today)
    shared = {province: Wanted() for province in PROVINCES}
    for (province, key), (rank, one) in newest.items():
        uscc = one["subject"]["uscc"]
        if uscc in registered:
            until = registered[uscc][2]
            inside = until is None or until > today
        else:
            inside = uscc[2:4] in divisions
        held = (*rank, one["status"], uscc)
        if one["status"] != "IN_FORCE":
            shared[province].may[key] = held
        elif one["kind"] == KIND or (one["domain"] in mutual and inside):
            shared[province].must[key] = held
    return shared


def load(seed: int) -> list[Statement]:
    """Return what the four provinces say, shuffled: registrations and moves, penalties, corrections to other entities,
    repairs and revocations, duplicates; entities of the four and of elsewhere, domains of mutual recognition and
    others."""
    chance = random.Random(f"provinces{seed}")
    first = 5_000_000 + seed * 1_000
    entities = [first + number for number in range(_ENTITIES)]
    said: list[Statement] = []
    for entity in entities:
        home = chance.choice(PROVINCES)
        if chance.random() < 0.8:
            until = date(2026, 3, 1) if chance.random() < 0.3 else None
            said.append(registration(entity=entity, province=home, until=until))
            if until is not None and chance.random() < 0.7:
                away = chance.choice([other for other in PROVINCES if other != home])
                said.append(registration(entity=entity, province=away, since=until, version=2))
    for number in range(chance.randrange(150, 400)):
        province = chance.choice(PROVINCES)
        department = chance.choice(
            ("tax", "court", "finance", "water", "education" if province == "beijing" else "fire")
        )
        entity = chance.choice(entities)
        one = penalty(f"四{seed}-{number}", entity=entity, key=department, province=province)
        said.append(one)
        if chance.random() < 0.2:
            other = chance.choice(entities)
            said.append(
                penalty(
                    f"四{seed}-{number}",
                    entity=other,
                    original_entity=entity,
                    key=department,
                    province=province,
                    version=2,
                )
            )
        if chance.random() < 0.2:
            said.append(state(one, chance.choice(["REVOKED", "REPAIRED"]), version=3))
        if chance.random() < 0.1:
            said.append(one)
    chance.shuffle(said)
    return said
