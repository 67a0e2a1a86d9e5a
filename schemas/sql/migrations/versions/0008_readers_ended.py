"""Readers beyond their limits are ended by the workers."""

from __future__ import annotations

from alembic import op

from schemas.store.sql_files import sql

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Make the function that ends them."""
    op.get_bind().exec_driver_sql(sql("migrations/0008_shared"))


def downgrade() -> None:
    """Nothing to undo: the older code calls no such function."""
