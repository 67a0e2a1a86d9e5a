"""One secure stack for all findings: a test leaves it as it found it, or names entities that no other test names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.secure import Secure, running


@pytest.fixture(scope="session")
def secure() -> Iterator[Secure]:
    """A secure stack with its workers, for every module of this folder."""
    with running("findings") as stack:
        yield stack
