"""Token of a reading: the positions and times needed to give the same answer again."""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from schemas.errors import UsageError

__all__ = ["Moment", "PartBasis"]


@dataclass(frozen=True, slots=True)
class PartBasis:
    """The basis of another province's part of a 互认版."""

    domains: Mapping[str, tuple[datetime | None, str | None]]
    """Domain → 数据截至, and why the province's word does not hold there (report.foreign_source); None if it does."""
    waiting: Mapping[str, int]
    """Domain ("": any) → number of the entity's refused records that waited."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a reading: generation, positions folded, and up to when each source vouched. Times in UTC."""

    generation: int
    topic_ids: Mapping[str, str]
    positions: Mapping[str, tuple[int, ...]]
    """Topic → next offset by partition."""
    data_as_of: Mapping[str, datetime | None]
    """Department → 数据截至."""
    read_at: datetime
    known_until: datetime | None = None
    """If set: only records known by then, by the broker's time of `accepted`."""
    on: date | None = None
    """If set: records in force on that day (China), by their own dates."""
    window: tuple[date, date] | None = None
    """The report's window; None with `on`, and in tokens from before windows were included."""
    mutual: tuple[str, Mapping[str, PartBasis]] | None = None
    """Of a 互认版: its entity, and each other province's state; None for the province's own edition."""

    @classmethod
    def of(
        cls, positions: Sequence[Mapping[str, Any]], data_as_of: Mapping[str, datetime | None], read_at: datetime
    ) -> Moment:
        """Return the moment of these rows of report.position and report.source."""
        topics: dict[str, dict[int, int]] = {}
        for row in positions:
            topics.setdefault(row["topic"], {})[row["partition"]] = row["next_offset"]
        return cls(
            positions[0]["generation"],
            {row["topic"]: row["topic_id"] for row in positions},
            {topic: tuple(offset for _, offset in sorted(found.items())) for topic, found in topics.items()},
            dict(data_as_of),
            read_at,
        )

    def at(self, known_until: datetime, data_as_of: Mapping[str, datetime | None]) -> Moment:
        """Return the same moment, narrowed to records known, and times vouched for, at an earlier time."""
        return replace(self, known_until=min(known_until, self.read_at).astimezone(UTC), data_as_of=dict(data_as_of))

    def asked(self, window: tuple[date, date] | None, on: date | None) -> Moment:
        """Return the same moment with the requested window or day."""
        return replace(self, window=window, on=on)

    def of_entity(self, uscc: str, said: Mapping[str, PartBasis]) -> Moment:
        """Return the same moment for a 互认版 of an entity."""
        return replace(self, mutual=(uscc, said))

    def to_token(self) -> str:
        """Return the token: URL-safe text of some hundred characters."""
        read_at = _milliseconds(self.read_at)
        plain = {
            "g": self.generation,
            "i": dict(self.topic_ids),
            "p": {topic: list(offsets) for topic, offsets in self.positions.items()},
            # Relative to the reading's time: small numbers make a short token.
            "s": {key: read_at - _milliseconds(value) for key, value in self.data_as_of.items() if value is not None},
            "r": read_at,
            "k": _milliseconds(self.known_until) if self.known_until else None,
        }
        if self.on:
            plain["d"] = self.on.isoformat()
        if self.window:
            plain["w"] = [day.isoformat() for day in self.window]
        if self.mutual:
            uscc, said = self.mutual
            plain["m"] = [uscc, {province: _plain(one, read_at) for province, one in said.items()}]
        packed = zlib.compress(json.dumps(plain, separators=(",", ":"), sort_keys=True).encode(), 9)
        return base64.urlsafe_b64encode(packed).decode().rstrip("=")

    @classmethod
    def from_token(cls, token: str) -> Moment:
        """Read a token back. Raises UsageError if it is none, or damaged."""
        try:
            packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            plain = json.loads(zlib.decompress(packed))
            return cls(
                plain["g"],
                plain["i"],
                {topic: tuple(offsets) for topic, offsets in plain["p"].items()},
                {key: _time(plain["r"] - value) for key, value in plain["s"].items()},
                _time(plain["r"]),
                _time(plain["k"]) if plain["k"] is not None else None,
                date.fromisoformat(plain["d"]) if "d" in plain else None,
                _window(*plain["w"]) if "w" in plain else None,
                _mutual(plain["m"], plain["r"]) if "m" in plain else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error, binascii.Error) as error:
            raise UsageError("this is no token of a reading, or not the whole of it") from error


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _window(first: str, last: str) -> tuple[date, date]:
    return date.fromisoformat(first), date.fromisoformat(last)


def _plain(said: PartBasis, read_at: int) -> list[Any]:
    times = {domain: read_at - _milliseconds(time) for domain, (time, _) in said.domains.items() if time is not None}
    return [
        sorted(said.domains),
        times,
        {domain: why for domain, (_, why) in said.domains.items() if why},
        said.waiting,
    ]


def _mutual(plain: tuple[str, Mapping[str, Any]], read_at: int) -> tuple[str, Mapping[str, PartBasis]]:
    uscc, provinces = plain
    found = {}
    for province, (domains, times, whys, waiting) in provinces.items():
        told = {domain: _time(read_at - times[domain]) if domain in times else None for domain in domains}
        found[province] = PartBasis(
            {domain: (time, whys.get(domain)) for domain, time in told.items()},
            {str(domain): int(count) for domain, count in waiting.items()},
        )
    return str(uscc), found
