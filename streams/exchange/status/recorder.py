"""Recorder of the exchange's status: the matrix as metrics, and counts of published and refused statuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from streams.monitoring.instruments import Instruments
from streams.monitoring.metrics import (
    EXCHANGE_DIFFERING,
    EXCHANGE_HEARD,
    EXCHANGE_LAG_RECORDS,
    EXCHANGE_LAG_SECONDS,
    EXCHANGE_OWED,
    EXCHANGE_SILENT,
    RETRIES,
    STATUS_REFUSED,
    STATUS_TOLD,
)

__all__ = ["StatusRecorder"]

_REFUSALS = ("DAMAGED", "SPEAKER", "SIGNATURE", "CONTENT", "AHEAD", "OLDER")


class StatusRecorder:
    """Counts for the threads that publish and read statuses; safe to use from both."""

    def __init__(self, instruments: Instruments, province: str, provinces: Sequence[str]) -> None:
        self._province = province
        self._told = instruments.total(STATUS_TOLD)
        self._refusals = instruments.total(STATUS_REFUSED)
        self._heard = instruments.latest(EXCHANGE_HEARD)
        self._silent = instruments.latest(EXCHANGE_SILENT)
        self._lag_records = instruments.latest(EXCHANGE_LAG_RECORDS)
        self._lag_seconds = instruments.latest(EXCHANGE_LAG_SECONDS)
        self._differing = instruments.latest(EXCHANGE_DIFFERING)
        self._owed = instruments.latest(EXCHANGE_OWED)
        self._retries = instruments.total(RETRIES)
        self._told.add({(province,): 0})
        self._refusals.add({(one, code): 0 for one in provinces for code in _REFUSALS})

    def told(self) -> None:
        """A status of ours is in the log."""
        self._told.add({(self._province,): 1})

    def refused(self, province: str, refused: Sequence[str]) -> None:
        """These statuses of a province were refused, by code."""
        for code in refused:
            self._refusals.add({(province, code): 1})

    def retried(self, server: str) -> None:
        """A try failed because this server did not answer; it is repeated."""
        self._retries.add({(server,): 1})

    def stands_by(self) -> None:
        """Another worker publishes: this one's figures of the matrix are out of date."""
        for gauge in (self._heard, self._silent, self._lag_records, self._lag_seconds, self._differing, self._owed):
            gauge.replace({})

    def looked(self, connection: psycopg.Connection[Any]) -> None:
        """Read the figures of the matrix from PostgreSQL, in the caller's transaction."""
        heard = connection.execute(
            "SELECT province, received_at, silent OR stalled FROM xinliu.exchange_heard"
        ).fetchall()
        self._heard.replace({(one,): at.timestamp() for one, at, _ in heard if at is not None})
        self._silent.replace({(one,): float(silent) for one, _, silent in heard})
        matrix = connection.execute(
            "SELECT origin, province, lag_records, lag_seconds, cardinality(differs), open, overdue FROM xinliu.exchange_matrix"
        ).fetchall()
        self._lag_records.replace({(o, q): records for o, q, records, *_ in matrix if records is not None})
        self._lag_seconds.replace({(o, q): seconds for o, q, _, seconds, *_ in matrix if seconds is not None})
        self._differing.replace({(o, q): differing for o, q, _, _, differing, *_ in matrix})
        owed = {(q, "open"): n for _, q, _, _, _, n, _ in matrix if n is not None}
        self._owed.replace(owed | {(q, "overdue"): n for _, q, _, _, _, _, n in matrix if n is not None})
