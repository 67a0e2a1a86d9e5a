"""Registrations that two provinces claim: current is what our own registry holds, and readers see who contests it."""

from __future__ import annotations

import psycopg
from alembic import op

from schemas.store.database import READER_FILES
from schemas.store.serving_views import expose
from schemas.store.sql_files import sql

revision = "0011"
down_revision = "0009"


def upgrade() -> None:
    """Make the index and the views of every generation, then those of the readers anew, which show one column more."""
    run = op.get_bind().exec_driver_sql
    run(sql("migrations/0011_shared"))
    for (schema,) in run("SELECT schema_name FROM xinliu.generation WHERE state <> 'DROPPED'").fetchall():
        run(f"SET LOCAL search_path = {schema}, xinliu, pg_catalog")
        run(sql("migrations/0011_generation"))
    run("SET LOCAL search_path = public")
    run("DROP SCHEMA IF EXISTS report CASCADE")
    owner = op.get_bind().connection.driver_connection
    assert isinstance(owner, psycopg.Connection)
    expose(owner)
    for part in READER_FILES:
        run(sql(part))


def downgrade() -> None:
    """Nothing to undo: the older code reads the columns that it knows."""
