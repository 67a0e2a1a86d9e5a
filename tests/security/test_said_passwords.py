"""Passwords with signs that a connection string takes for something else: no message has any part of one."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy.exc import SQLAlchemyError

from deploy import settings
from producers.outbox.database import answering, database_url, open_engine
from schemas.errors import Retryable, UsageError

_SIGNS = "@:/?#%[]& '\\=;,+"
_FORMS = (
    "postgresql://u:{}@127.0.0.1:1/db",
    "postgres://u:{}@127.0.0.1:1/db?sslmode=disable",
    "postgresql://u@127.0.0.1:1/db?password={}",
    "host=127.0.0.1 port=1 user=u dbname=db password={}",
    "host=127.0.0.1 port=1 user=u dbname=db password='{}'",
    "password={} host=127.0.0.1 port=1 user=u",
)
_LEFT, _RIGHT = "Geheim", "Wortlaut"


def said(text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a command says of a database at this address, which is not there."""
    for name, value in {"PROVINCE": "beijing", "KAFKA": "x:1", "REGISTRY": "http://x", "DATABASE": text}.items():
        monkeypatch.setenv(f"XINLIU_{name}", value)
    settings.settings.cache_clear()
    try:
        known = settings.connection()
        settings.redacted(known)
        psycopg.connect(known.database.get_secret_value(), connect_timeout=2).close()
    except (UsageError, psycopg.OperationalError) as error:
        return str(error)
    finally:
        settings.settings.cache_clear()
    raise AssertionError("nothing listens there")


@pytest.mark.parametrize("sign", _SIGNS)
def test_no_part_of_a_password_is_said(sign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in _FORMS:
        for password in (f"{_LEFT}{sign}{_RIGHT}", f"{sign}{_LEFT}{_RIGHT}", f"{_LEFT}{sign}{sign}/{_RIGHT}"):
            told = said(form.format(password), monkeypatch)
            assert _LEFT not in told, (form, sign)
            assert _RIGHT not in told, (form, sign)


@pytest.mark.parametrize("text", ["postgresql://bob%40x@h:1,i:2/d", "host=/var/run user=bob@x", "dbname=d port="])
def test_what_a_password_has_no_part_in_is_taken(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PROVINCE": "beijing", "KAFKA": "x:1", "REGISTRY": "http://x", "DATABASE": text}.items():
        monkeypatch.setenv(f"XINLIU_{name}", value)
    settings.settings.cache_clear()
    assert settings.connection().database.get_secret_value() == text
    settings.settings.cache_clear()


@pytest.mark.parametrize("sign", _SIGNS)
def test_nor_of_a_departments(sign: str) -> None:
    for password in (f"{_LEFT}{sign}{_RIGHT}", f"{_LEFT}{sign}/x@{_RIGHT}"):
        try:
            with answering(), open_engine(database_url(f"postgresql://u:{password}@127.0.0.1:1/db")).connect():
                raise AssertionError("nothing listens there")
        except (UsageError, Retryable, SQLAlchemyError) as error:
            assert _LEFT not in str(error)
            assert _RIGHT not in str(error)
