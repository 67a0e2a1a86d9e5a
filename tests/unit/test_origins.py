"""Who may say what, of many departments at once: the same as if each stood alone."""

from __future__ import annotations

from random import Random

import polars as pl
import pytest

from schemas.catalogue import load
from schemas.contracts.columns import FLAT
from schemas.rules import FINDINGS, Origins, validate_origin

DEPARTMENTS = load().departments("beijing")
SAID = ("department", "province", "domain", "kind", "authority", "listing_list")


def statements(chance: Random, rows: int, few: int) -> tuple[pl.DataFrame, list[str]]:
    """Return rows that say what some department may say, here and there what another one may, and by whom each came."""
    chosen = chance.sample(DEPARTMENTS, few)
    by = [chance.choice(chosen) for _ in range(rows)]

    def said(place: int) -> dict[str, str | None]:
        values: dict[str, str | None] = {}
        for name in SAID:
            one = by[place] if chance.random() < 0.8 else chance.choice(DEPARTMENTS)
            may = {
                "department": [one.key],
                "province": [one.province, "tianjin"] if one is not by[place] else [one.province],
                "domain": [*one.domains, "registration"],
                "kind": ["PENALTY", "REGISTRATION"],
                "authority": [uscc for uscc, _ in one.authorities],
                "listing_list": [*one.lists, None],
            }[name]
            # Nobody gets past by a value that holds what stands between a key and a value.
            values[name] = f"{one.key}\x1f{may[0]}" if chance.random() < 0.02 else chance.choice(may or [None])
        return values

    told = pl.DataFrame([said(place) for place in range(rows)], schema=dict.fromkeys(SAID, pl.String))
    columns = {name: told[name] if name in SAID else pl.Series([None], dtype=kind) for name, kind in FLAT.items()}
    frame = told.select(
        pl.int_range(rows, dtype=pl.UInt32).alias("row") if name == "row"
        else pl.col(name) if name in SAID else pl.lit(None, dtype=columns[name].dtype).alias(name)
        for name in FLAT.names()
    )  # fmt: skip
    return frame, [one.key for one in by]


@pytest.mark.parametrize("few", [1, 2, 9, len(DEPARTMENTS)])
@pytest.mark.parametrize("seed", range(5))
def test_all_at_once_is_each_alone(seed: int, few: int) -> None:
    frame, by = statements(Random(seed), 300, few)
    origins = Origins(DEPARTMENTS)
    found = origins.validate(frame, pl.Series(by))
    alone = [
        validate_origin(frame.filter(pl.Series(by) == department.key), department)
        for department in DEPARTMENTS
        if department.key in by
    ]
    assert found.schema == FINDINGS
    assert found.equals(pl.concat(alone).sort("row", maintain_order=True))
    assert found["code"].n_unique() == 6, "every rule was broken by somebody"


def test_nobody_is_asked_of_what_came_by_nobody() -> None:
    frame, by = statements(Random(1), 100, 5)
    said = pl.Series([None if place % 3 else key for place, key in enumerate(by)], dtype=pl.String)
    origins = Origins(DEPARTMENTS)
    found = origins.validate(frame, said)
    assert found.equals(origins.validate(frame, pl.Series(by)).filter(pl.col("row") % 3 == 0))
    assert origins.validate(frame, pl.Series([None] * 100, dtype=pl.String)).is_empty()
    assert origins.validate(frame.clear(), pl.Series([], dtype=pl.String)).is_empty()
