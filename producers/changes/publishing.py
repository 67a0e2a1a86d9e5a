"""ChangePublisher: the calls that publish the changes of a record's life, one for each, with any publisher."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from producers.changes import versions as changes
from producers.changes.versions import Statement

__all__ = ["ChangePublisher"]


class ChangePublisher(ABC):
    """Publishes statements and, by these calls, every change of a record (docs/lifecycle.md).

    Each call takes the statement to change, or for `repair` and `revoke` the identity of the record
    (`producers.changes.versions.named`). It makes the next version, publishes it and returns it; the next change starts
    from it. Each raises StatementRejected for an impossible change, and the errors of `publish`.
    """

    @abstractmethod
    def publish(self, statement: Mapping[str, Any], /) -> None:
        """Publish one statement."""

    def correct(
        self,
        statement: Mapping[str, Any],
        *,
        subject: Mapping[str, Any] | None = None,
        version: int | None = None,
        stated_at: datetime | None = None,
        **content: Any,
    ) -> Statement:
        """更正 of content, money, document number or entity: see `producers.changes.versions.corrected`.

        >>> publisher.correct(statement, fine=Decimal("0.3"))                      # doctest: +SKIP
        >>> publisher.correct(statement, subject={"uscc": "…", "name": "…"})       # doctest: +SKIP
        """
        made = changes.corrected(statement, subject=subject, version=version, stated_at=stated_at, **content)
        return self._sent(made)

    def repair(
        self, statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None
    ) -> Statement:
        """信用修复: hidden from now on, no longer shared; history keeps it."""
        return self._sent(changes.repaired(statement, version=version, stated_at=stated_at))

    def revoke(
        self, statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None
    ) -> Statement:
        """撤销: as if the record had never been. The erased content cannot be restored."""
        return self._sent(changes.revoked(statement, version=version, stated_at=stated_at))

    def remove(
        self,
        statement: Mapping[str, Any],
        *,
        on: date,
        why: str,
        version: int | None = None,
        stated_at: datetime | None = None,
    ) -> Statement:
        """移出 of a list entry on that day; `why`: 期满, 提前移出, 撤销 or 更正."""
        return self._sent(changes.removed(statement, on=on, why=why, version=version, stated_at=stated_at))

    def relist(
        self, statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None
    ) -> Statement:
        """恢复列入 of an entry whose removal was obtained by fraud: the same entry is in force again."""
        return self._sent(changes.relisted(statement, version=version, stated_at=stated_at))

    def dispute(
        self,
        statement: Mapping[str, Any],
        *,
        since: date | None = None,
        version: int | None = None,
        stated_at: datetime | None = None,
    ) -> Statement:
        """异议标注: the record bears the mark of an accepted objection, since today (China) by default."""
        return self._sent(changes.disputed(statement, since=since, version=version, stated_at=stated_at))

    def uphold(
        self, statement: Mapping[str, Any], *, version: int | None = None, stated_at: datetime | None = None
    ) -> Statement:
        """异议核查后维持: the mark is lifted, the record stands."""
        return self._sent(changes.upheld(statement, version=version, stated_at=stated_at))

    def _sent(self, statement: Statement) -> Statement:
        self.publish(statement)
        return statement
