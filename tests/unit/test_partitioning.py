"""The place of a key: as the Java client, librdkafka and aiokafka compute it."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest
from aiokafka.partitioner import DefaultPartitioner, murmur2
from hypothesis import given
from hypothesis import strategies as st

from schemas.identifiers.uscc import generate
from schemas.records.partitioning import partitions_of

VECTORS = Path(__file__).parents[1] / "data" / "uscc_vectors.csv"


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        ("21", -973932308),
        ("foobar", -790332482),
        ("a-little-bit-long-string", -985981536),
        ("a-little-bit-longer-string", -1486304829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    ],
)
def test_the_hashes_of_kafkas_own_tests(key: str, hashed: int) -> None:
    """From UtilsTest.testMurmur2 of Apache Kafka's clients."""
    count = 2**31 - 1
    assert partitions_of(pl.Series([key]), count).tolist() == [(hashed & 0x7FFFFFFF) % count]


@given(st.lists(st.text(max_size=40) | st.integers(0, 10**9).map(generate), max_size=30), st.integers(1, 300))
def test_every_key_is_where_aiokafka_puts_it(keys: list[str], count: int) -> None:
    expected = [(murmur2(key.encode()) & 0x7FFFFFFF) % count for key in keys]
    assert partitions_of(pl.Series(keys, dtype=pl.String), count).tolist() == expected


def test_the_producers_default_partitioner_agrees() -> None:
    keys = [generate(number) for number in range(500)]
    places = [DefaultPartitioner()(key.encode(), list(range(7)), []) for key in keys]
    assert partitions_of(pl.Series(keys), 7).tolist() == places


def test_real_codes_are_where_librdkafka_put_them() -> None:
    """Places among 12 partitions, as confluent-kafka with murmur2_random wrote them to a topic."""
    with VECTORS.open(encoding="utf-8", newline="") as file:
        codes = [row["code"] for row in csv.DictReader(file)]
    places = [6, 1, 9, 11, 2, 5, 1, 11, 11, 11]
    assert partitions_of(pl.Series(codes), 12).tolist() == places


def test_codes_in_a_row_are_spread_evenly() -> None:
    places = partitions_of(pl.Series([generate(number) for number in range(20_000)]), 4)
    assert pl.Series(places).value_counts()["count"].min() > 4_700  # type: ignore[operator]
