"""`xinliu worker link` and `xinliu exchange links`: run a push link, and show the state of all."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

from schemas.console.groups import EXCHANGE, WORKER, group
from schemas.console.options import Json, LogJson, MetricsHost, MetricsPort, log_to_stderr

if TYPE_CHECKING:
    from consumers.links.lag import LinkFacts
    from schemas.servers.connection import Connection

__all__ = ["links", "mount"]

PRINCIPAL = "link"


def _link(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", help="Key of the province to push to: a peer of the exchange's settings.")],
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = "127.0.0.1",
    log_json: LogJson = False,
) -> None:
    """Push what this province shares to one other province's cluster, until stopped (SIGTERM)."""
    from consumers.links import Link

    log_to_stderr(log_json)
    connect: Callable[[], Connection] = ctx.obj
    link = Link(connect().acting(PRINCIPAL), to)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: link.stop())
    if metrics_port is not None:
        _serve(link.metrics, metrics_host, metrics_port)
    link.run()


def _serve(metrics: Any, host: str, port: int) -> None:
    from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

    from schemas.errors import UsageError

    shown = CollectorRegistry()
    shown.register(metrics)
    ProcessCollector(registry=shown)
    try:
        server, _ = start_http_server(port, host, registry=shown)
    except OSError as error:
        raise UsageError(
            f"cannot serve metrics on {host}:{port} ({error.strerror or error}): choose another with --metrics-port"
        ) from error
    structlog.get_logger().info("metrics.serving", address=f"http://{host}:{server.server_port}")


def links(ctx: typer.Context, as_json: Json = False) -> int:
    """Show how far each push link of this province is. Exit code 1 if one is held at a message or unreachable.

    It asks the clusters themselves, so the answer is true whether or not a link runs.
    """
    from rich.markup import escape

    from consumers.links.lag import look
    from schemas.console.tables import print_table
    from schemas.console.terminal import Console
    from schemas.errors import UsageError

    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(PRINCIPAL)
    if connection.exchange is None or not connection.exchange.peers:
        raise UsageError(f"{connection.province} pushes to nobody: its settings name no exchange (docs/exchange.md)")
    found = [look(connection, peer) for peer in sorted(connection.exchange.peers)]
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, default=str))
    else:
        rows = [(one.peer, *map(escape, _shown(one))) for one in found]
        print_table(Console(), ("省份", "滞后条数", "滞后时间", "状态"), rows, text=("状态",))
        for one in found:
            for told in one.standing:
                print(f"{one.peer}: {told.kind} {told.topic}/{told.partition}@{told.offset}: {told.why}")
    return int(any(one.error is not None or one.held for one in found))


def _shown(one: LinkFacts) -> tuple[str, str, str]:
    if one.error is not None:
        return "–", "–", f"联不通: {one.error}"
    state = "停在一条" if one.held else "有缺口" if one.standing else "正常"
    return f"{one.lag_messages:,}", f"{one.lag_seconds:,.1f} s", state


def mount(app: typer.Typer) -> None:
    """Add the commands to `xinliu`."""
    group(app, "worker", WORKER).command("link")(_link)
    group(app, "exchange", EXCHANGE).command("links")(links)
