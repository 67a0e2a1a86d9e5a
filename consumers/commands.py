"""The commands of this room: show, quality."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Add this room's commands to the command `xinliu`."""
    from consumers.quality_command import quality
    from consumers.show_command import show

    app.command()(show)
    app.command()(quality)
