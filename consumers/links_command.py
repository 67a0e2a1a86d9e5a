"""`xinliu worker link` and `xinliu exchange links`."""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import structlog
import typer

if TYPE_CHECKING:
    from consumers.links.looking import LinkFacts
    from schemas.connection import Connection

__all__ = ["links", "mount", "mount_worker"]

PRINCIPAL = "link"


def _link(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", help="Key of the province to push to: a peer of the exchange's settings.")],
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65_535,
            envvar="XINLIU_METRICS_PORT",
            help="Serve /metrics there; 0 takes a free port, which the log names.",
            show_default="not served",
        ),
    ] = None,
    metrics_host: Annotated[
        str, typer.Option("--metrics-host", envvar="XINLIU_METRICS_HOST", help="Address that they are served on.")
    ] = "127.0.0.1",
    log_json: Annotated[bool, typer.Option("--log-json", help="One JSON object a line instead of text.")] = False,
) -> None:
    """Push what this province shares to one other province's cluster, until stopped (SIGTERM)."""
    from consumers.links import Link

    _log_to_stderr(log_json)
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


def _log_to_stderr(as_json: bool) -> None:
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    last: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper("iso"), last],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def links(
    ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="For machines: JSON on stdout.")] = False
) -> int:
    """How far each push link of this province is, and where one stands. Exit code 1 where one stands or is unreachable.

    Asked are the clusters themselves, so it tells the truth whether or not a link runs.
    """
    from rich.console import Console
    from rich.table import Table

    from consumers.links.looking import look
    from schemas.errors import UsageError

    connect: Callable[[], Connection] = ctx.obj
    connection = connect().acting(PRINCIPAL)
    if connection.exchange is None or not connection.exchange.peers:
        raise UsageError(f"{connection.province} pushes to nobody: its settings name no exchange (docs/exchange.md)")
    found = [look(connection, peer) for peer in sorted(connection.exchange.peers)]
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, default=str))
    else:
        table = Table("省份", "滞后条数", "滞后时间", "状态")
        for one in found:
            table.add_row(one.peer, *_shown(one))
        Console().print(table)
        for one in found:
            for told in one.standing:
                print(f"{one.peer}: {told.kind} {told.topic}/{told.partition}@{told.offset}: {told.why}")
    return int(any(one.error is not None or one.held for one in found))


def _shown(one: LinkFacts) -> tuple[str, str, str]:
    if one.error is not None:
        return "–", "–", f"联不通: {one.error}"
    state = "停在一条" if one.held else "有缺口" if one.standing else "正常"
    return f"{one.lag_messages:,}", f"{one.lag_seconds:,.1f} s", state


def mount_worker(app: typer.Typer) -> None:
    """Add `xinliu worker link`; importing this module costs nothing that a worker killed a moment ago would wait for."""
    from schemas.groups import group

    group(app, "worker", "").command("link")(_link)


def mount(app: typer.Typer) -> None:
    """Add these commands to `xinliu`."""
    from schemas.groups import EXCHANGE, group

    mount_worker(app)
    group(app, "exchange", EXCHANGE).command("links")(links)
