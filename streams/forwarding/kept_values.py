"""Stored values of refused messages: the quarantine keeps a short message whole, of a long one its head and SHA-256.

A department may write messages of megabytes, and the quarantine stands for a year, in Kafka and in PostgreSQL. A
statement has some hundred bytes: a message hundreds of times as long is no record that a person reads. Until the
department's own topic deletes it, a redrive takes it from there, and SHA-256 proves that it is the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from streams.forwarding.findings import finding
from streams.forwarding.masking import is_masked, masked
from streams.kafka.headers import FINDINGS, Headers, findings_of, header

__all__ = ["LONGEST", "Cut", "cut_of", "kept"]

LONGEST = 64 << 10
"""Longest message that is kept whole, in bytes."""

_HEAD = 4 << 10
"""Bytes kept of a longer message."""

_OVERLAP = 256
"""Bytes behind the head that are examined too: a possible identity number can lie across its end."""


class Cut:
    """A message of which the quarantine keeps only the head."""

    def __init__(self, digest: str, uscc: str | None) -> None:
        self._digest, self._uscc = digest, uscc

    def is_whole(self, value: bytes) -> bool:
        """Return whether this is the message that was refused."""
        return hashlib.sha256(value).hexdigest() == self._digest

    def hides(self, value: bytes) -> bool:
        """Return whether the quarantine would have masked something in it."""
        return is_masked(value) or masked(value, self._uscc)[0] != value


def kept(
    value: bytes | None, known: Mapping[str, Any], origin: tuple[str, bytes]
) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return value and headers of a refused message's entry; `known` is the content of the header FINDINGS.

    Possible resident identity numbers are masked, in `uscc` too (streams.forwarding.masking).
    """
    value = value or b""
    told, long = dict(known), len(value) > LONGEST
    covered, told["uscc"] = masked(value[: _HEAD + _OVERLAP] if long else value, known["uscc"])
    if long:
        digest = hashlib.sha256(value).hexdigest()
        covered, told["cut"] = covered[:_HEAD], {"sha256": digest}
        detail = f"{len(value)} bytes, SHA-256 {digest}; {_HEAD} bytes are kept"
        told["findings"] = [*known["findings"], finding("KEPT_IN_PART", detail=detail)]
    return covered, [origin, (FINDINGS, json.dumps(told, ensure_ascii=False).encode())]


def cut_of(headers: Headers | Sequence[tuple[str, Any]] | None) -> Cut | None:
    """Return the Cut that an entry's headers describe; None if the message is kept whole."""
    known = findings_of(header(headers or (), FINDINGS)) or {}
    return Cut(known["cut"]["sha256"], known["uscc"]) if "cut" in known else None
