"""`xinliu exchange repush`: publish shared records to the other provinces again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.console.groups import EXCHANGE, group
from schemas.console.hints import hint
from schemas.console.options import Json
from schemas.console.typed_text import code_typed
from schemas.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.servers.connection import Connection

__all__ = ["mount"]


def _repush(
    ctx: typer.Context,
    domain: Annotated[str | None, typer.Option(help="Records of this domain, or `registration`.")] = None,
    entity: Annotated[
        str | None, typer.Option(metavar="USCC", help="Records about this entity.", callback=code_typed)
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Records of this partition of the exchange.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every record that was ever shared.")] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with the event.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
    as_json: Json = False,
) -> None:
    """Publish the shared records to the other provinces again: each record as it is now, withdrawn ones as withdrawn.

    A province that lost its data needs nothing else; sets that differ are found and repaired without this command.
    """
    from schemas.catalogue import load
    from schemas.contracts.registry import Registry
    from schemas.identifiers.persons import showable
    from schemas.identifiers.uscc_check import check
    from schemas.operations.log import OperationsWriter
    from schemas.operations.operators import operator_event, require_reason
    from schemas.records.registration import DOMAIN
    from schemas.store.database import connect
    from streams.exchange.outgoing.repush import RepushChoice, repush

    if everything == bool(domain or entity or partition is not None):
        raise UsageError("say which records: --all, or one or more of --domain, --entity and --partition")
    if domain is not None and domain != DOMAIN:
        load().domain(domain)
    if entity is not None and check(entity, exceptions=[entity]):
        raise UsageError(f"{showable(entity)!r} is no unified social credit code (统一社会信用代码)")
    if not dry_run:
        require_reason(reason)
    get: Callable[[], Connection] = ctx.obj
    connection = get().acting("view")
    if connection.exchange is None:
        raise UsageError("this province shares nothing with others: it has no XINLIU_EXCHANGE")
    with connect(connection.database.get_secret_value(), autocommit=True) as store, store.transaction():
        records = repush(store, RepushChoice(domain=domain, uscc=entity, partition=partition), dry_run=dry_run)
        if not dry_run:
            chosen = {"domain": domain, "entity": entity, "partition": partition, "all": everything, "records": records}
            event = operator_event(get().kafka, "EXCHANGE_REPUSHED", reason, chosen)
            # Within the transaction: a repush that cannot be recorded must not happen.
            with Registry(connection.registry) as registry:
                OperationsWriter(get().kafka, registry).write(event)
    if as_json:
        print(json.dumps({"records": records, "dry_run": dry_run}))
    elif dry_run:
        print(f"{records} records would be told again.")
    else:
        print(
            hint(
                f"{records} records will be told again, within a second or so; `xinliu exchange status` shows when they have"
                " arrived."
            )
        )


def mount(app: typer.Typer) -> None:
    """Add the command to `xinliu`."""
    group(app, "exchange", EXCHANGE).command("repush")(_repush)
