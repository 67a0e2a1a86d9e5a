"""Replay: tables that databases of the third revision lack."""

from __future__ import annotations

from alembic import op

from schemas.store.sql_files import sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Bring the shared tables and every generation to what their files held then. Readers' views are made by the newest
    revision, because their files speak of what it adds.
    """
    run = op.get_bind().exec_driver_sql
    run(sql("migrations/0004_shared"))
    for (schema,) in run("SELECT schema_name FROM xinliu.generation WHERE state <> 'DROPPED'").fetchall():
        run(f"SET LOCAL search_path = {schema}, xinliu, pg_catalog")
        run(sql("migrations/0004_generation"))
    run("SET LOCAL search_path = public")
    run("DROP SCHEMA IF EXISTS report CASCADE")
    # Through them readers follow whatever generation serves.
    run("DROP SCHEMA IF EXISTS serving CASCADE")
    run("CREATE SCHEMA serving")


def downgrade() -> None:
    """Nothing to undo: the older code does not look at what was added."""
