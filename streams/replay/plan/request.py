"""The request for a replay: the options of a person, checked, and the kind of replay that follows from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.calendar.clock import read_time
from schemas.catalogue import Catalogue
from schemas.errors import UsageError
from schemas.exchange.topics import EXCHANGE_PARTITIONS
from schemas.identifiers.persons import showable
from schemas.identifiers.uscc_check import check
from schemas.records.registration import DOMAIN
from streams.exchange.sets.buckets import MOST_BITS
from streams.kafka.scope import CORRECT, REBUILD, REDRIVE, REPUSH, ReplayScope

__all__ = ["END", "ReplayRequest", "moment", "resolve_request"]

END = (1 << 63) - 1
"""An offset after every other: the end of a range that goes to the end of the log."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The options of `xinliu replay plan`, as typed."""

    everything: bool = False
    domains: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    offsets: tuple[str, ...] = ()
    quarantine: bool = False
    codes: tuple[str, ...] = ()
    province: str | None = None
    to: str | None = None
    bucket: str | None = None
    cut_off: bool = False
    key: str | None = None


def resolve_request(asked: ReplayRequest, catalogue: Catalogue, own: str) -> tuple[str, ReplayScope]:
    """Return the kind of replay (REBUILD, CORRECT, REPUSH, REDRIVE) and its scope.

    Raises UsageError if an option is not valid, or two do not go together.
    """
    if asked.to is not None and (asked.quarantine or asked.province is not None):
        raise UsageError("--to tells another province what is ours: it goes with neither --quarantine nor --province")
    if asked.codes and not asked.quarantine:
        raise UsageError("--code chooses among what is quarantined: say --quarantine, too")
    if asked.bucket is not None and asked.to is None:
        raise UsageError("--bucket is a part of what has been shared: it goes with --to PROVINCE")
    if asked.quarantine and (asked.offsets or asked.province is not None):
        raise UsageError("--offsets and --province choose among what was accepted, and --quarantine what was not")
    if asked.key is not None and not asked.cut_off:
        raise UsageError("--key names what is cut off: it goes with --cut-off")
    if asked.cut_off and (
        asked.province is None or asked.domains or asked.departments or asked.entities or asked.offsets
    ):
        raise UsageError(
            "--cut-off is of a province, of a key of its and a time: --province, and --key, --since, --until"
        )
    scope = ReplayScope(
        domains=tuple(_domain(one, catalogue) for one in asked.domains),
        departments=_departments(asked, catalogue, own),
        entities=tuple(_entity(one) for one in asked.entities),
        since=moment(asked.since, "--since"),
        until=moment(asked.until, "--until"),
        offsets=_offsets(asked.offsets) or None,
        province=_other(asked.to or asked.province, catalogue, own),
        codes=asked.codes,
        bucket=_bucket(asked.bucket),
        key=asked.key,
        cut_off=asked.cut_off,
    )
    if scope.since is not None and scope.until is not None and scope.since >= scope.until:
        raise UsageError("--since is not before --until: nothing lies between them")
    nothing = scope == ReplayScope(province=asked.to) and not asked.quarantine
    if asked.everything != nothing:
        raise UsageError("say what to replay: --all, or one or more conditions, not both")
    if asked.quarantine:
        return REDRIVE, scope
    if asked.to is not None:
        return REPUSH, scope
    return (REBUILD if scope.whole else CORRECT), scope


def moment(text: str | None, option: str) -> datetime | None:
    """Return a time in UTC; without a zone it is China's. Raises UsageError if it is no time."""
    time = read_time(text, option)
    return None if time is None else time.astimezone(UTC)


def _domain(key: str, catalogue: Catalogue) -> str:
    if key != DOMAIN:
        catalogue.domain(key)
    return key


def _departments(asked: ReplayRequest, catalogue: Catalogue, own: str) -> tuple[str, ...]:
    whose = asked.province if asked.province in catalogue.provinces else own
    known = {one.key for one in catalogue.departments(whose or own)}
    for key in asked.departments:
        if key not in known:
            raise UsageError(f"{whose} has no department {key!r}: `xinliu catalogue show departments` names them")
    return asked.departments


def _entity(code: str) -> str:
    if check(code, exceptions=[code]):
        raise UsageError(f"{showable(code)!r} is no unified social credit code (统一社会信用代码)")
    return code


def _other(province: str | None, catalogue: Catalogue, own: str) -> str | None:
    if province is None:
        return None
    others = sorted(catalogue.provinces.keys() - {own})
    if province not in others:
        raise UsageError(f"{province!r} is no other province: one of {', '.join(others)}")
    return province


def _offsets(spans: Iterable[str]) -> Mapping[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for span in spans:
        partition, colon, rest = span.partition(":")
        first, dash, last = rest.partition("-")
        if not partition.isdigit() or (colon and not (first.isdigit() and dash and (last.isdigit() or not last))):
            raise UsageError(
                f"--offsets {span!r}: write PARTITION:FROM-TO, PARTITION:FROM- or PARTITION; TO is left out"
            )
        number = int(partition)
        if number >= EXCHANGE_PARTITIONS:
            raise UsageError(f"--offsets {span!r}: accepted has partitions 0 to {EXCHANGE_PARTITIONS - 1}")
        if number in found:
            raise UsageError(f"--offsets names partition {number} twice: plan each range by itself")
        found[number] = (int(first) if colon else 0, int(last) if last else END)
        if found[number][0] >= found[number][1]:
            raise UsageError(f"--offsets {span!r}: nothing lies between {first} and {last}")
    return found


def _bucket(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    bucket, slash, bits = text.partition("/")
    if (
        not (slash and bucket.isdigit() and bits.isdigit())
        or not 1 <= int(bits) <= MOST_BITS
        or int(bucket) >> int(bits)
    ):
        raise UsageError(
            f"--bucket {text!r}: write NUMBER/BITS, as 17/8: of 256 parts by the first 8 bits of record_id, the 17th"
        )
    return int(bits), int(bucket)
