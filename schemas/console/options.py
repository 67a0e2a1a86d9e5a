"""Options shared by commands of several rooms, and the logging of a long-running process."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Annotated, Any

import typer

from schemas.console.hints import hint
from schemas.identifiers.persons import cover_persons

__all__ = ["Json", "LogJson", "MetricsHost", "MetricsPort", "log_to_stderr"]

Json = Annotated[bool, typer.Option("--json", help="For machines: JSON on stdout.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="One JSON object a line instead of text.")]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        min=0,
        max=65_535,
        envvar="XINLIU_METRICS_PORT",
        help="Serve /metrics there, stream processors /health and /ready, too; 0 takes a free port, which the log names.",
        show_default="not served",
    ),
]
MetricsHost = Annotated[
    str, typer.Option("--metrics-host", envvar="XINLIU_METRICS_HOST", help="Address that they are served on.")
]


def _line(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask persons' numbers in a log line, and add the stack's name to its hints, as in those of the commands."""
    return {name: hint(cover_persons(value)) if isinstance(value, str) else value for name, value in event.items()}


def log_to_stderr(as_json: bool) -> None:
    """Let this process log to stderr."""
    import structlog

    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
    )
    last: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper("iso"), _line, last],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
