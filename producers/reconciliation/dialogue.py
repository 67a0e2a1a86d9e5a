"""Anti-entropy with the platform: publish a manifest and the lines of differing buckets, read the differing records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import polars as pl

from producers.errors import NotVisibleYet
from producers.publisher import Publisher
from producers.receipts import Receipts
from producers.reconciliation.from_files import StatedRecords
from schemas.catalogue import Department
from schemas.errors import UsageError
from schemas.reconciliation.manifest import ManifestScope, lines_parts, summary, within

__all__ = ["RESENT", "Reconciled", "RecordDifference", "reconcile", "resend", "scopes"]

RESENT = ("MISSING", "OLDER_HERE", "CONTENT")
"""Differences that publishing the statement again can mend. REFUSED would be refused again; for UNKNOWN the department
has no statement; if the platform has a newer version, the department's own data are behind.
"""


@dataclass(frozen=True, slots=True)
class RecordDifference:
    """One record that differs between the department and the platform."""

    record_id: str
    difference: str
    stated_version: int | None
    held_version: int | None
    where: str | None
    """The place of the statement at the department."""
    reasons: tuple[str, ...] = ()


@dataclass(slots=True)
class Reconciled:
    """The result of one manifest."""

    domain: str
    kind: str
    first_period: str | None
    last_period: str | None
    manifest_id: str
    state: str
    """EQUAL, DIFFERS or REFUSED."""
    stated: int
    held: int
    outside: int
    """Records of the platform in months outside the manifest."""
    periods: list[dict[str, Any]] = field(default_factory=list)
    differences: list[RecordDifference] = field(default_factory=list)
    unnamed: int = 0
    message: str | None = None


def scopes(
    records: pl.DataFrame, department: Department, *, first: str | None, last: str | None, whole: bool
) -> tuple[ManifestScope, ...]:
    """Return the scopes of manifests for these records: a domain and kind each, and the months from `first` to `last`.

    Without bounds the months run from the first to the last record's. `whole`: the records are all that the department
    ever published, in all its domains; in a domain without records the platform must have none either.
    """
    parts = records.group_by("domain", "kind").agg(
        pl.col("period").min().alias("first"), pl.col("period").max().alias("last")
    )
    if whole:
        kinds = ("PENALTY", "LISTING") if department.lists else ("PENALTY",)
        silent = {(domain, kind) for domain in department.domains for kind in kinds}
        return tuple(ManifestScope(*pair) for pair in sorted(silent | set(parts.select("domain", "kind").rows())))
    return tuple(
        ManifestScope(domain, kind, first or begin, last or end)
        for domain, kind, begin, end in parts.sort("domain", "kind").rows()
    )


def reconcile(
    publisher: Publisher, receipts: Receipts, told: StatedRecords, scope: ManifestScope, *, seconds: float
) -> Reconciled:
    """Publish the manifest of this scope and return the platform's differences, in up to two rounds.

    `receipts` must have been opened before. Raises NotVisibleYet if an answer does not come in time.
    """
    records = _of(told.records, scope)
    manifest = summary(records, publisher.config.department, scope, made_at=datetime.now(UTC))
    publisher.manifest(manifest)
    answers = _Answers(receipts, manifest["manifest_id"], seconds)
    (first,) = answers.wait([0])
    outcome = Reconciled(
        scope.domain, scope.kind, scope.first, scope.last, manifest["manifest_id"], first["state"],
        within(records, scope).height, first["held"], first["outside"], first["periods"], message=first["message"],
    )  # fmt: skip
    if first["state"] != "DIFFERS":
        return outcome
    try:
        parts = list(lines_parts(records, manifest, first["buckets"]))
    except ValueError as error:
        raise UsageError(f"{error}: give fewer months with --from and --to") from error
    for part in parts:
        publisher.manifest(part)
    named = answers.wait([part["part"] for part in parts])
    mine = {row["record_id"]: row for row in records.select("record_id", "version", "place").iter_rows(named=True)}
    for answer in named:
        outcome.unnamed += answer["unnamed"]
        outcome.message = answer["message"] or outcome.message
        for told_of in answer["differences"]:
            outcome.differences.append(_difference(told_of, mine.get(told_of["record_id"]), told))
    states = {answer["state"] for answer in named}
    outcome.state = next((state for state in ("REFUSED", "DIFFERS") if state in states), "EQUAL")
    outcome.differences.sort(
        key=lambda difference: (difference.difference, difference.where or "", difference.record_id)
    )
    return outcome


def resend(publisher: Publisher, told: StatedRecords, differences: Sequence[RecordDifference]) -> int:
    """Publish again the statements that mend these differences. Return how many."""
    wanted = [one.record_id for one in differences if one.difference in RESENT]
    chosen = told.records.filter(pl.col("record_id").is_in(wanted)).sort("place")
    for place, uscc in chosen.select("place", "uscc").iter_rows():
        publisher.publish_encoded(uscc, told.statement(place))
    publisher.flush()
    return chosen.height


class _Answers:
    """Reads the answers to one manifest, part by part; each may come more than once."""

    def __init__(
        self, receipts: Receipts, manifest_id: str, seconds: float, now: Callable[[], float] = monotonic
    ) -> None:
        self._receipts, self._manifest_id, self._seconds, self._now = receipts, manifest_id, seconds, now
        self._open: dict[int, dict[str, dict[str, Any]]] = {}
        self._complete: dict[int, dict[str, Any]] = {}

    def wait(self, parts: Sequence[int]) -> list[dict[str, Any]]:
        deadline = self._now() + self._seconds
        while not self._complete.keys() >= set(parts):
            for receipt in self._receipts.read(0.2):
                answer = receipt["reconciliation"]
                if answer is not None and answer["manifest_id"] == self._manifest_id:
                    self._take(answer)
            if self._now() > deadline and not self._complete.keys() >= set(parts):
                raise NotVisibleYet(
                    f"no answer to the manifest after {self._seconds:.0f} s; it is on its way: see `xinliu status` whether"
                    " the workers run, and wait longer with --timeout"
                )
        return [self._complete[part] for part in parts]

    def _take(self, answer: dict[str, Any]) -> None:
        found = self._open.setdefault(answer["part"], {})
        found.update({one["record_id"]: one for one in answer["differences"]})
        if answer["complete"]:
            self._complete[answer["part"]] = {**answer, "differences": list(found.values())}


def _of(records: pl.DataFrame, scope: ManifestScope) -> pl.DataFrame:
    return records.filter((pl.col("domain") == scope.domain) & (pl.col("kind") == scope.kind))


def _difference(told_of: dict[str, Any], mine: dict[str, Any] | None, told: StatedRecords) -> RecordDifference:
    return RecordDifference(
        told_of["record_id"],
        told_of["difference"],
        mine["version"] if mine else None,
        told_of["held_version"],
        told.where(mine["place"]) if mine else None,
        tuple(told_of["reasons"]),
    )
