"""Indexes that keep the cost of a batch linear, however alike its data are."""

from __future__ import annotations

from alembic import op

from schemas.store.sql_files import sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Make them in every generation."""
    run = op.get_bind().exec_driver_sql
    for (schema,) in run("SELECT schema_name FROM xinliu.generation WHERE state <> 'DROPPED'").fetchall():
        run(f"SET LOCAL search_path = {schema}, xinliu, pg_catalog")
        run(sql("migrations/0007_generation"))
    run("SET LOCAL search_path = public")


def downgrade() -> None:
    """Nothing to undo: the older code finds the same, more slowly."""
