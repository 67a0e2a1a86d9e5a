"""Where a generator's choices come from: Hypothesis, which shrinks them, or the bytes of a coverage-guided fuzzer.

The generators of hostile input (tests/fuzz/hostile.py, files.py) are written once, against `Choices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from hypothesis import strategies as st

__all__ = ["Choices", "Consumed", "Drawn"]

T = TypeVar("T")


class Choices(Protocol):
    """Makes the choices of a generator."""

    def integer(self, low: int, high: int) -> int:
        """Return a number from low to high, both included; low where there is nothing left to choose by."""
        ...

    def raw(self, longest: int) -> bytes:
        """Return any bytes, at most so many."""
        ...

    def pick(self, options: Sequence[T]) -> T:
        """Return one of these."""
        ...

    def rarely(self, one_in: int) -> bool:
        """Return true once in so many times."""
        ...


class _Choosing:
    def integer(self, low: int, high: int) -> int:
        raise NotImplementedError

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def rarely(self, one_in: int) -> bool:
        # Its simplest choice, 0, is no: what shrinks, shrinks to what is good.
        return self.integer(0, one_in - 1) == one_in - 1


class Drawn(_Choosing):
    """Choices of Hypothesis."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def integer(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))

    def raw(self, longest: int) -> bytes:
        return self._data.draw(st.binary(max_size=longest))


class Consumed(_Choosing):
    """Choices made by consuming bytes from the front; with none left, everything is as simple as it can be."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def integer(self, low: int, high: int) -> int:
        size = ((high - low).bit_length() + 7) // 8
        taken = self._data[self._at : self._at + size]
        self._at += size
        return low + int.from_bytes(taken, "big") % (high - low + 1)

    def raw(self, longest: int) -> bytes:
        # The last bytes asked for may be all that is left: a fuzzer's input reads as the file or body that it is.
        left = len(self._data) - self._at
        size = left if longest > 4096 else self.integer(0, longest)
        taken = self._data[self._at : self._at + min(size, longest)]
        self._at += len(taken)
        return taken
