"""Servers that chaos has for itself, as good as new before each module: they are killed, frozen, cut off and filled up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deploy.local.stack import Stack
    from schemas.servers.connection import Connection


@pytest.fixture(scope="module")
def stack(own_stack: Connection) -> Connection:
    """As `own_stack`: nobody else is on these servers."""
    return own_stack


@pytest.fixture(scope="module")
def local_stack(own_local_stack: Stack) -> Stack:
    """The local processes behind `stack`, for tests that kill one and start it again."""
    return own_local_stack
