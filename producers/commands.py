"""The commands of this room: publish, change, mark, receipts, sample."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Add this room's commands to the command `xinliu`."""
    from producers.change_commands import change
    from producers.mark_command import mark
    from producers.publish_command import publish
    from producers.receipts_command import receipts
    from producers.sample_command import sample

    app.command()(publish)
    app.add_typer(change, name="change")
    app.command()(mark)
    app.command()(receipts)
    app.command()(sample)
