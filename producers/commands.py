"""The commands of this room: publish, mark, heartbeat, receipts, sample."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Add this room's commands to the command `xinliu`."""
    from producers.heartbeat_command import heartbeat
    from producers.mark_command import mark
    from producers.publish_command import publish
    from producers.receipts_command import receipts
    from producers.sample_command import sample

    app.command()(publish)
    app.command()(mark)
    app.command()(heartbeat)
    app.command()(receipts)
    app.command()(sample)
