"""The audit has a chain a topic: each person's word stands in one of his own."""

from __future__ import annotations

from alembic import op

from schemas.store.sql_files import sql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Give every entry its topic, and number entries topic by topic."""
    op.get_bind().exec_driver_sql(sql("migrations/0009_shared"))


def downgrade() -> None:
    """Nothing to undo: the older code finds the chain of the topic that it knows, and asks for no other."""
