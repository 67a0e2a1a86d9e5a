"""The commands of this room: publish, change, mark, heartbeat, receipts, reconcile manifest, sample, outbox."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Add this room's commands to the command `xinliu`."""
    from producers.change_commands import change
    from producers.heartbeat_command import heartbeat
    from producers.mark_command import mark
    from producers.outbox_command import mount as mount_outbox
    from producers.publish_command import publish
    from producers.receipts_command import receipts
    from producers.reconcile_command import manifest
    from producers.sample_command import sample
    from schemas.groups import RECONCILE, group

    app.command()(publish)
    app.add_typer(change, name="change")
    app.command()(mark)
    app.command()(heartbeat)
    app.command()(receipts)
    app.command()(sample)
    group(app, "reconcile", RECONCILE).command()(manifest)
    mount_outbox(app)
