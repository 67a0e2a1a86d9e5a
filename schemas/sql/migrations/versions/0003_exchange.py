"""Exchange between provinces: columns and tables that databases of the second revision lack."""

from __future__ import annotations

from alembic import op

from schemas.store.sql_files import sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Bring the shared tables and every generation to what their files held then. Readers' views are made by the newest
    revision, because their files speak of what it adds.
    """
    bind = op.get_bind()
    run = bind.exec_driver_sql
    run(sql("migrations/0003_shared"))
    for (schema,) in run("SELECT schema_name FROM xinliu.generation ORDER BY generation").fetchall():
        run(f"SET LOCAL search_path = {schema}, xinliu, pg_catalog")
        run(sql("migrations/0003_generation"))
    run("SET LOCAL search_path = public")
    run("DROP SCHEMA IF EXISTS report CASCADE")


def downgrade() -> None:
    """Nothing to undo: the older code does not look at what was added."""
