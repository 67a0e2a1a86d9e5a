"""The commands of this room: show, quality, reconcile status, worker link, exchange status, duties, differences and links."""

from __future__ import annotations

import typer

__all__ = ["mount"]


def mount(app: typer.Typer) -> None:
    """Add this room's commands to the command `xinliu`."""
    from consumers.differences_command import differences
    from consumers.exchange_command import duties
    from consumers.exchange_command import status as exchange_status
    from consumers.links_command import mount as mount_links
    from consumers.quality_command import quality
    from consumers.reconcile_command import status
    from consumers.show_command import show
    from schemas.groups import EXCHANGE, RECONCILE, group

    app.command()(show)
    app.command()(quality)
    group(app, "reconcile", RECONCILE).command()(status)
    exchange = group(app, "exchange", EXCHANGE)
    exchange.command("status")(exchange_status)
    exchange.command()(duties)
    exchange.command()(differences)
    mount_links(app)
