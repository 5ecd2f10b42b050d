"""For each trade the quote that stood: as a plain search says, and as Polars joins."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticktape.lake.asof import asof
from ticktape.model.records import Ints

rows = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20)), max_size=40).map(sorted)


def columns(found: list[tuple[int, int]]) -> tuple[Ints, Ints]:
    table: Ints = np.array(found, dtype=np.int64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


@given(left=rows, right=rows, strict=st.booleans())
@settings(deadline=None)  # the first call compiles
def test_it_is_the_last_of_the_same_instrument_not_after(
    left: list[tuple[int, int]], right: list[tuple[int, int]], strict: bool
) -> None:
    wanted: list[int] = []
    for who, ts in left:
        hits = [k for k, (other, at) in enumerate(right) if other == who and (at < ts or (at == ts and not strict))]
        wanted.append(max(hits, default=-1))
    assert asof(*columns(left), *columns(right), strict=strict).tolist() == wanted


@pytest.mark.parametrize("strict", [False, True])
def test_polars_joins_the_same(strict: bool) -> None:
    chance = np.random.default_rng(1)
    (i, t), (j, u) = (
        columns(sorted(zip(*chance.integers(0, 5000, (2, n)).tolist(), strict=True))) for n in (900, 4000)
    )
    i, j = i % 7, j % 7
    (i, t), (j, u) = ((a[o], b[o]) for a, b, o in ((i, t, np.lexsort((t, i))), (j, u, np.lexsort((u, j)))))
    left = pl.DataFrame({"who": i, "ts": t}).sort("ts")
    right = pl.DataFrame({"who": j, "ts": u, "at": u}).sort("ts")
    joined = left.join_asof(right, on="ts", by="who", allow_exact_matches=not strict).sort("who", "ts")
    mine = asof(i, t, j, u, strict=strict)
    assert joined["at"].to_list() == [int(u[k]) if k >= 0 else None for k in mine]
