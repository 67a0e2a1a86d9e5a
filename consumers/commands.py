"""The commands of this room: show, quality, reconcile status, worker link, exchange links and differences."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Add this room's commands to the command `xinliu`."""
    from consumers.differences_command import differences
    from consumers.links_command import mount as mount_links
    from consumers.quality_command import quality
    from consumers.reconcile_command import status
    from consumers.show_command import show
    from schemas.groups import EXCHANGE, RECONCILE, group

    app.command()(show)
    app.command()(quality)
    group(app, "reconcile", RECONCILE).command()(status)
    group(app, "exchange", EXCHANGE).command()(differences)
    mount_links(app)
