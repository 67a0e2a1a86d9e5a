"""Command groups shared by several rooms: `xinliu reconcile` has a department's side and a platform's, `xinliu
exchange` and `xinliu replay` a reader's and an operator's.
"""

from __future__ import annotations

import typer

__all__ = ["EXCHANGE", "RECONCILE", "REPLAY", "WORKER", "group"]

RECONCILE = "对账: does the platform hold what a department believes it has told?"
EXCHANGE = "四省市交换: what the provinces tell one another, and how far each of them is."
REPLAY = "重放: plan, rebuild, compare, promote and roll back what is computed from the topics."
WORKER = "Run a stream processor until it is stopped (SIGTERM); logs go to stderr."


def group(app: typer.Typer, name: str, about: str) -> typer.Typer:
    """Return the group of that name, and create it if no room has created it yet."""
    for known in app.registered_groups:
        if known.name == name and known.typer_instance is not None:
            return known.typer_instance
    made = typer.Typer(help=about, no_args_is_help=True)
    app.add_typer(made, name=name)
    return made
