"""The SQL files of schemas/sql, by name: the folders there mirror the code that reads them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["SQL", "sql"]

SQL = Path(__file__).parents[1] / "sql"
"""Folder of all SQL files, and of the migrations."""


@cache
def sql(name: str) -> str:
    """Return the SQL file of that name (schemas/sql/NAME.sql), read once."""
    return (SQL / f"{name}.sql").read_text(encoding="utf-8")
