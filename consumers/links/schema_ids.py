"""Schema ids belong to each registry: a link rewrites the 5 bytes before a body, never the body.

It registers nothing: the peer's own operators register a version that their registry lacks.
"""

from __future__ import annotations

from schemas.contracts.codec import HEADER, NotDecodable, frame, unframe
from schemas.contracts.registry import Registry
from schemas.errors import Retryable, UsageError

__all__ = ["Translation", "Untranslatable"]


class Untranslatable(Exception):
    """A message whose schema is missing from one of the two registries."""


class Translation:
    """Translates the own registry's ids to the peer's, with a cache.

    `own` and `peer` name the registries in errors.
    """

    def __init__(self, own: Registry, peer: Registry, *, names: tuple[str, str]) -> None:
        self._own, self._peer, self._names = own, peer, names
        self._prefixes: dict[bytes, bytes] = {}

    def of(self, value: bytes | None) -> bytes | None:
        """Return the message with the peer's schema id. One without a header stays as it is: the far side judges it.

        Raises Untranslatable, and Retryable if a registry does not answer.
        """
        if value is None:
            return None
        prefix = self._prefixes.get(value[:HEADER])
        if prefix is None:
            try:
                schema_id, _ = unframe(value)
            except NotDecodable:
                return value
            prefix = self._prefixes[value[:HEADER]] = self._asked(schema_id)
        return prefix + value[HEADER:]

    def _asked(self, schema_id: int) -> bytes:
        try:
            writer = self._own.writer(schema_id)
        except NotDecodable as error:
            raise Untranslatable(f"its schema: {error}") from error
        except Retryable as error:
            raise Retryable(str(error), server=self._names[0]) from error
        try:
            return frame(self._peer.id_of(writer.name, writer.fingerprint), b"")
        except UsageError as error:
            raise Untranslatable(f"its schema: {error}") from error
        except Retryable as error:
            raise Retryable(str(error), server=self._names[1]) from error

    def close(self) -> None:
        """Close both connections."""
        self._own.close()
        self._peer.close()
