"""An event of operations: what a person, or a worker in his place, decided."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One event of operations, as schemas/avro/Operation.avsc has it.

    As read, `by` is who the broker says has written it, on a cluster that asks; as written,
    what the process says of itself.
    """

    kind: str
    department: str | None
    at: datetime
    by: str
    reason: str
    detail: Mapping[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    received: datetime | None = field(default=None, compare=False)
    """Broker time, UTC; None where it was not read from a topic."""
    vouched: bool = field(default=False, compare=False)
    """Whether the broker has asked its author who he is."""

    @property
    def when(self) -> datetime:
        """Broker time, where it is known: nobody can claim another."""
        return self.received or self.at
