"""The scope of a replay: which part of which log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

__all__ = ["CORRECT", "REBUILD", "REDRIVE", "REPUSH", "ReplayScope"]

REBUILD, CORRECT, REPUSH, REDRIVE = "REBUILD", "CORRECT", "REPUSH", "REDRIVE"
"""Kinds of replay: all into a new generation; a part into the serving one; to another province; the quarantine."""


@dataclass(frozen=True, slots=True)
class ReplayScope:
    """A selection of statements: those that match every field that is set; all if none is set. Times in UTC."""

    domains: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    """统一社会信用代码."""
    since: datetime | None = None
    """Broker time of `accepted`, this moment included."""
    until: datetime | None = None
    """This moment excluded."""
    offsets: Mapping[int, tuple[int, int]] | None = None
    """Offsets of `accepted`, by partition: first, and end (excluded)."""
    province: str | None = None
    """Another province: messages from its exchange, or (REPUSH) messages to it."""
    codes: tuple[str, ...] = ()
    """REDRIVE: entries refused for one of these reasons."""
    bucket: tuple[int, int] | None = None
    """Records whose id begins with these bits: count of bits, and their value (streams/exchange/sets/buckets.py)."""

    key: str | None = None
    """With `cut_off`: only messages signed by this key of the province."""
    cut_off: bool = False
    """A cut-off: the selected statements are not folded (streams/view/cut_offs.py)."""

    @property
    def whole(self) -> bool:
        """Whether everything is selected."""
        return self == ReplayScope()

    def to_detail(self) -> dict[str, Any]:
        """Return the scope for `from_detail`, as readable JSON values, without fields that are not set."""
        told = {name: value for name, value in asdict(self).items() if value}
        for name in ("since", "until"):
            if name in told:
                told[name] = told[name].isoformat()
        if "offsets" in told:
            told["offsets"] = {str(partition): list(span) for partition, span in told["offsets"].items()}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}

    @classmethod
    def from_detail(cls, detail: Mapping[str, Any]) -> ReplayScope:
        """Return the scope from the result of `to_detail`. Raises ValueError if it is none."""
        known = dict(detail)
        if unknown := known.keys() - cls.__dataclass_fields__.keys():
            raise ValueError(f"a scope has no {', '.join(sorted(unknown))}")
        for name in ("since", "until"):
            if name in known:
                known[name] = datetime.fromisoformat(known[name])
        for name in ("domains", "departments", "entities", "codes"):
            known[name] = tuple(map(str, known.get(name, ())))
        if known.get("bucket"):
            known["bucket"] = (int(known["bucket"][0]), int(known["bucket"][1]))
        if "offsets" in known:
            known["offsets"] = {int(p): (int(span[0]), int(span[1])) for p, span in known["offsets"].items()}
        return cls(**known)
