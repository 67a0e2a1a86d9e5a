"""How long a server that does not answer is waited for: each time longer, never long, and not for ever."""

from __future__ import annotations

import pytest

from schemas.errors import Retryable
from streams.runtime.backoff import pauses


def test_pauses_grow_to_a_limit_and_end() -> None:
    pause, away, made = pauses(9.0), Retryable("no broker", server="kafka"), list[float]()
    with pytest.raises(Retryable, match="no broker"):
        while True:
            made.append(pause(away))
    assert made == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0])
