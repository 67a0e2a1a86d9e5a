"""Whoever owns the tables cannot quietly have them say something else: every kind of change of a definition is named (F6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from schemas.store.definitions import differences
from streams.integrity.definitions import CATALOGUE, DefinitionsWatch, catalogue_sums
from streams.monitoring.instruments import Instruments
from tests.secure import Secure, xinliu

Owner = psycopg.Connection[Any]

_FILTERED = "CREATE OR REPLACE VIEW {view} AS SELECT {columns} FROM ({text}) v WHERE random() >= 0"
"""A view as it was, but for rows that it leaves out."""

CHANGES: dict[str, tuple[str, str]] = {
    "a function": (
        "CREATE OR REPLACE FUNCTION report.source_at(at_time timestamptz) RETURNS TABLE (department text, topic text,"
        " data_as_of timestamptz, held_since timestamptz, open_quarantine bigint, silent boolean, state text, since timestamptz,"
        " expected_every interval, silent_after interval, marked_at timestamptz) LANGUAGE sql STABLE"
        " AS 'SELECT department, topic, now(), held_since, 0::bigint, false, ''正常'', now(), NULL::interval, NULL::interval, now()"
        " FROM report.source_vouched'",
        "CHANGED function report.source_at(at_time timestamp with time zone)",
    ),
    "whose rights a function has": (
        "ALTER FUNCTION report.source_at(timestamptz) SECURITY DEFINER",
        "CHANGED function report.source_at(at_time timestamp with time zone)",
    ),
    "a function that leaks": (
        "CREATE FUNCTION report.leak() RETURNS SETOF g1.quarantine LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM g1.quarantine'",
        "EXTRA function report.leak()",
    ),
    "a function that is found first": (
        "CREATE FUNCTION xinliu.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint'",
        "EXTRA function xinliu.count(text)",
    ),
    "a view that leaks": ("CREATE VIEW report.q AS SELECT * FROM g1.quarantine", "EXTRA view report.q"),
    "a view for everybody elsewhere": ("CREATE SCHEMA other; CREATE VIEW other.q AS SELECT 1", "EXTRA view other.q"),
    "a view in public": ("CREATE VIEW public.q AS SELECT 1 AS one", "EXTRA view public.q"),
    "a view that is gone": ("DROP VIEW report.quality CASCADE", "MISSING view report.quality"),
    "a rule": (
        "CREATE RULE nothing AS ON INSERT TO g1.quarantine DO INSTEAD NOTHING",
        "EXTRA rule g1.quarantine.nothing",
    ),
    "a policy": (
        "ALTER TABLE g1.record ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        " CREATE POLICY few ON g1.record USING (uscc <> '91110000M00000000W')",
        "EXTRA policy g1.record.few",
    ),
    "row security alone": ("ALTER TABLE g1.record ENABLE ROW LEVEL SECURITY", "CHANGED table g1.record"),
    "row security of a generation that calls itself unfinished": (
        "UPDATE xinliu.generation SET state = 'BUILDING'; ALTER TABLE g1.record ENABLE ROW LEVEL SECURITY",
        "CHANGED table g1.record",
    ),
    "a trigger": (
        "CREATE FUNCTION g1.skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER skip BEFORE INSERT ON g1.record FOR EACH ROW EXECUTE FUNCTION g1.skip()",
        "EXTRA trigger g1.record.skip",
    ),
    "a trigger that is off": (
        "ALTER TABLE xinliu.audit DISABLE TRIGGER audit_is_append_only",
        "CHANGED trigger xinliu.audit.audit_is_append_only",
    ),
    "a trigger that is gone": (
        "DROP TRIGGER audit_is_append_only ON xinliu.audit",
        "MISSING trigger xinliu.audit.audit_is_append_only",
    ),
    "a column's default": ("ALTER TABLE g1.quarantine ALTER state SET DEFAULT 'DISCARDED'", "CHANGED table g1.quarantine"),
    "a column more": ("ALTER TABLE g1.credit_view ADD COLUMN more text", "CHANGED table g1.credit_view"),
    "a table that is lost in a crash": ("ALTER TABLE g1.former_entity SET UNLOGGED", "CHANGED table g1.former_entity"),
    "a constraint that is gone": (
        "ALTER TABLE g1.record DROP CONSTRAINT record_pkey",
        "MISSING constraint g1.record PRIMARY KEY (record_id, province, department)",
    ),
    "rows by inheritance": ("CREATE TABLE public.more () INHERITS (g1.record)", "CHANGED table g1.record"),
    "a type": ("CREATE DOMAIN xinliu.date AS text", "EXTRA type xinliu.date"),
    "an operator": (
        "CREATE OPERATOR xinliu.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_catalog.texteq)",
        "EXTRA operator",
    ),
    "what view serves": (
        "CREATE OR REPLACE VIEW serving.credit_view AS SELECT uscc, province, domain, records, 0 AS penalties, listings, digest_hi,"
        " digest_lo, changed_at FROM g1.credit_view",
        "CHANGED view serving.credit_view",
    ),
    "a view with its caller's rights": ("ALTER VIEW report.penalty SET (security_invoker = true)", "CHANGED view report.penalty"),
}  # fmt: skip


def test_rows_that_the_catalogue_filled_are_held_against_it(owner: Owner) -> None:
    with owner.transaction(force_rollback=True):
        sums = catalogue_sums(owner)
        for table in CATALOGUE:
            owner.execute(f"DELETE FROM xinliu.{table} WHERE ctid = (SELECT max(ctid) FROM xinliu.{table})")  # type: ignore[arg-type]
            changed = catalogue_sums(owner)
            assert {name for name in sums if sums[name] != changed[name]} == {table}
            sums = changed


@pytest.fixture(scope="module")
def owner(secure: Secure) -> Iterator[Owner]:
    """A connection as the owner of the tables, as which a bribed administrator has it."""
    with psycopg.connect(secure.principals["admin"].database.get_secret_value(), autocommit=True) as connection:
        yield connection


def named(owner: Owner, change: str) -> set[str]:
    """Return what differs where this was done; it is taken back."""
    with owner.transaction(force_rollback=True):
        owner.execute(change)  # type: ignore[call-overload]
        return set(map(str, differences(owner)))


def test_nothing_differs_where_nothing_was_changed(owner: Owner) -> None:
    assert differences(owner) == []


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES.keys())
def test_each_kind_of_change_is_named(owner: Owner, change: str, told: str) -> None:
    assert any(one.startswith(told) for one in named(owner, change)), named(owner, change)


def test_each_view_of_the_readers_is_named_that_leaves_something_out(owner: Owner) -> None:
    views = owner.execute(
        "SELECT n.nspname || '.' || c.relname, rtrim(pg_get_viewdef(c.oid), ';'),"
        " (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'v' AND n.nspname IN ('report', 'serving', 'xinliu', 'g1')"
    ).fetchall()
    assert len(views) > 60
    changes = [_FILTERED.format(view=view, columns=columns, text=text) for view, text, columns in views]
    assert named(owner, ";".join(changes)) == {f"CHANGED view {view}" for view, *_ in views}


def test_the_worker_the_plan_and_the_check_name_it(secure: Secure, owner: Owner) -> None:
    worker = secure.stack.postgres.conninfo("xinliu_worker", "xinliu")
    shown = Instruments("view")
    watch = DefinitionsWatch(worker, every=1, shown=shown)
    assert watch.look() == 0
    (text,) = owner.execute("SELECT rtrim(pg_get_viewdef('report.penalty'::regclass), ';')").fetchone() or ("",)
    owner.execute(
        f"CREATE OR REPLACE VIEW report.penalty AS SELECT * FROM ({text}) v WHERE uscc <> '91110000M00000000W'"
    )
    try:
        assert watch.look() == 1
        assert b'xinliu_definitions_differ{part="definitions"} 1.0' in shown.exposition()[0]
        for words in (("access", "plan"), ("migrate", "--check")):
            done = xinliu(secure, *words)
            assert done.returncode == 1, done.stderr
            assert "CHANGED view report.penalty" in done.stdout
    finally:
        owner.execute(f"CREATE OR REPLACE VIEW report.penalty AS {text}")
    assert watch.look() == 0
    assert xinliu(secure, "migrate", "--check").stdout == "everything is as it was shipped\n"
