"""What is read of a commit: the topic's id and nothing that happens to lie behind it in memory."""

from __future__ import annotations

from typing import Any

import pytest

from streams.kafka.ranges import _told

TOPIC_ID = "yXaeAwblT9uYQAoNybG3wg"


class Told:
    """A partition as the client hands it over, with metadata that were read up to the next zero byte."""

    def __init__(self, raw: bytes | None) -> None:
        self._raw = raw

    @property
    def metadata(self) -> str | None:
        """Decode them, as the client does."""
        return None if self._raw is None else self._raw.decode()


@pytest.mark.parametrize("behind", [b"", b"!", b"records.tax", b"\xff\xfe", "数".encode()])
def test_only_the_id_is_read(behind: bytes) -> None:
    told: Any = Told(TOPIC_ID.encode() + behind)
    assert _told(told)[0] == TOPIC_ID


def test_a_commit_may_say_nothing_of_its_topic() -> None:
    told: Any = Told(None)
    assert _told(told)[0] == ""
