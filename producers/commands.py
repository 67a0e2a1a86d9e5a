"""The commands of this room: publish, mark, receipts, sample, outbox."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Add this room's commands to the command `xinliu`."""
    from producers.mark_command import mark
    from producers.outbox_command import mount as mount_outbox
    from producers.publish_command import publish
    from producers.receipts_command import receipts
    from producers.sample_command import sample

    app.command()(publish)
    app.command()(mark)
    app.command()(receipts)
    app.command()(sample)
    mount_outbox(app)
