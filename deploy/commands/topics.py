"""Commands `xinliu topics plan | apply`: the topics of the province's cluster, as code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from schemas.console.options import Json
from schemas.console.tables import print_table
from schemas.console.terminal import Console

if TYPE_CHECKING:
    from deploy.cluster.topics import Topic, TopicChange
    from schemas.servers.connection import Connection
    from schemas.servers.kafka import Cluster

__all__ = ["mount"]

topics_app = typer.Typer(help="The topics of the province's cluster, as code.", no_args_is_help=True)


@topics_app.command("plan")
def topics_plan(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what would change; exit code 1 if something would."""
    from deploy.cluster import topics

    changes = topics.plan(*_wanted_topics(ctx))
    _print_changes(changes, as_json, "nothing to do")
    if any(change.action != "extra" for change in changes):
        raise typer.Exit(1)


@topics_app.command("apply")
def topics_apply(ctx: typer.Context, as_json: Json = False) -> None:
    """Create, extend and configure; nothing is ever deleted. Exit code 1 if something is impossible."""
    from deploy.cluster import topics

    changes = topics.apply(*_wanted_topics(ctx, "admin"))
    _print_changes(changes, as_json, "nothing to do")
    if any(change.action == "impossible" for change in changes):
        raise typer.Exit(1)


def _wanted_topics(ctx: typer.Context, principal: str = "operator") -> tuple[Cluster, tuple[Topic, ...]]:
    from deploy.cluster import topics
    from deploy.people import people_here
    from deploy.settings import settings
    from schemas.catalogue import load
    from schemas.operations.topics import asks

    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(principal)
    named = people_here(settings(), ctx.find_root().params.get("stack"))
    own = topics.of_authors(named) if asks(connection.kafka) else ()
    return connection.kafka, (*topics.wanted(load(), connection.province), *own)


def _print_changes(changes: tuple[TopicChange, ...], as_json: bool, nothing: str) -> None:
    if as_json:
        print(json.dumps([asdict(change) for change in changes], ensure_ascii=False))
        return
    if not changes:
        print(nothing)
        return
    rows = [(change.action, change.topic, escape(change.detail)) for change in changes]
    print_table(Console(), ("action", "topic", "detail"), rows, text=("detail",))


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    app.add_typer(topics_app, name="topics")
