"""The baseline: the shared tables, the first generation, and the readers' views.

It has the number of the last revision that it replaces: databases of that revision have the same tables.
"""

from __future__ import annotations

import psycopg
from alembic import op

from schemas.store.database import READER_FILES
from schemas.store.serving_views import expose
from schemas.store.sql_files import sql

revision = "0011"
down_revision = None


def upgrade() -> None:
    """Create the schemas xinliu and g1; g1 serves."""
    run = op.get_bind().exec_driver_sql
    run(sql("shared"))
    run("CREATE SCHEMA g1")
    run("SET LOCAL search_path = g1, xinliu, pg_catalog")
    run(sql("generation"))
    run("SET LOCAL search_path = public")
    run("INSERT INTO xinliu.generation (generation, schema_name, state) VALUES (1, 'g1', 'SERVING')")
    run("INSERT INTO xinliu.serving (generation) VALUES (1)")
    run("CREATE SCHEMA serving")
    owner = op.get_bind().connection.driver_connection
    assert isinstance(owner, psycopg.Connection)
    expose(owner)
    for part in READER_FILES:
        run(sql(part))


def downgrade() -> None:
    """Drop everything that this revision made."""
    run = op.get_bind().exec_driver_sql
    run("DROP SCHEMA report CASCADE")
    run("DROP SCHEMA serving CASCADE")
    run("DROP SCHEMA g1 CASCADE")
    run("DROP SCHEMA xinliu CASCADE")
