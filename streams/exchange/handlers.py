"""Handlers of the messages that other provinces' exchanges carry, one for each contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from schemas.cases.fold import CONTRACT as CASE
from streams.exchange.carried import cases
from streams.exchange.carried import pending_entries as pending
from streams.exchange.carried.message import Connection, Handler
from streams.exchange.incoming.checkpoints import Applied, reflect
from streams.exchange.sets import requests as asking

__all__ = ["HANDLERS", "ON_APPLIED"]

HANDLERS: Final[Mapping[str, Handler]] = {
    "xinliu.SharedSet": asking.name_differences,
    pending.CONTRACT: lambda connection, came: pending.project_pending(connection, [one.value for one in came]),
    CASE: lambda connection, came: cases.project_carried(connection, [(one.value, one.known_at) for one in came]),
}
"""By the contract's full name (one of CARRIED_CONTRACTS); called in this order, before checkpoints are applied."""

ON_APPLIED: Final[Sequence[Callable[[Connection, Sequence[Applied]], None]]] = (reflect,)
"""Called, in the view's transaction, with the checkpoints that a batch applied."""
