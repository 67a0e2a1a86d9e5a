"""The commands of this room: publish, change, mark, heartbeat, receipts, refused, reconcile manifest, sample, outbox."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer, only: str | None = None) -> None:
    """Add this room's commands to the command `xinliu`; with `only`, no others than those that begin with it."""
    if only in (None, "publish"):
        from producers.publish_command import publish

        app.command()(publish)
    if only in (None, "change"):
        from producers.change_commands import change

        app.add_typer(change, name="change")
    if only in (None, "mark"):
        from producers.mark_command import mark

        app.command()(mark)
    if only in (None, "heartbeat"):
        from producers.heartbeat_command import heartbeat

        app.command()(heartbeat)
    if only in (None, "receipts"):
        from producers.receipts_command import receipts

        app.command()(receipts)
    if only in (None, "refused"):
        from producers.refused_command import refused

        app.add_typer(refused, name="refused")
    if only in (None, "sample"):
        from producers.sample_command import sample

        app.command()(sample)
    if only in (None, "reconcile"):
        from producers.reconcile_command import manifest
        from schemas.groups import RECONCILE, group

        group(app, "reconcile", RECONCILE).command()(manifest)
    if only in (None, "outbox"):
        from producers.outbox_command import mount as mount_outbox

        mount_outbox(app)
