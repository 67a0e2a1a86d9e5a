"""An event of operations: a decision of a person, or of a worker in the person's place."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One event of operations, as schemas/avro/Operation.avsc defines it.

    As read, `by` is the author that the broker authenticated, on a cluster with authentication; as written, the
    process's own claim.
    """

    kind: str
    department: str | None
    at: datetime
    by: str
    reason: str
    detail: Mapping[str, Any]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    received: datetime | None = field(default=None, compare=False)
    """Broker time, UTC; None if the event was not read from a topic."""
    vouched: bool = field(default=False, compare=False)
    """Whether the broker authenticated its author."""

    @property
    def when(self) -> datetime:
        """Broker time if it is known, which no author can forge; else the event's own."""
        return self.received or self.at
