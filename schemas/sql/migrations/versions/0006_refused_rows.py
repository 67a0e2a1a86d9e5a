"""Rows that their departments refused themselves: since when each may have been known."""

from __future__ import annotations

from alembic import op

from schemas.store.sql_files import sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Give every generation the column, and the view that asks for it."""
    run = op.get_bind().exec_driver_sql
    for (schema,) in run("SELECT schema_name FROM xinliu.generation WHERE state <> 'DROPPED'").fetchall():
        run(f"SET LOCAL search_path = {schema}, xinliu, pg_catalog")
        run(sql("migrations/0006_generation"))
    run("SET LOCAL search_path = public")


def downgrade() -> None:
    """Nothing to undo: the older code asks for no such column."""
