"""The commands of this room: show, quality, reconcile status, worker link, exchange status, duties, differences and links."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer, only: str | None = None) -> None:
    """Add this room's commands to the command `xinliu`; with `only`, no others than those that begin with it."""
    if only in (None, "show"):
        from consumers.show_command import show

        app.command()(show)
    if only in (None, "quality"):
        from consumers.quality_command import quality

        app.command()(quality)
    if only in (None, "reconcile"):
        from consumers.reconcile_command import status
        from schemas.groups import RECONCILE, group

        group(app, "reconcile", RECONCILE).command()(status)
    if only in (None, "exchange", "worker"):
        from consumers.differences_command import differences
        from consumers.exchange_command import duties
        from consumers.exchange_command import status as exchange_status
        from consumers.links_command import mount as mount_links
        from schemas.groups import EXCHANGE, group

        exchange = group(app, "exchange", EXCHANGE)
        exchange.command("status")(exchange_status)
        exchange.command()(duties)
        exchange.command()(differences)
        mount_links(app)
