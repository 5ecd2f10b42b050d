"""The venue's own bars of minutes in the `bars` table: they answer where no tick made one, and are added to none.

They come from no tape. So `position` is no place on it but says when they were fetched, in milliseconds since 1970
from BEYOND on; and they leave the position that the table has reached as it is. A minute without a trade is a row
too, of count 0: it was fetched, and there is nothing to answer. `open_ts` and `close_ts` are the ends of the minute,
for the venue does not tell when its first and last trade were; the ids are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ticktape.lake.bars import KLINES, MINUTE_NS
from ticktape.lake.schema import BEYOND
from ticktape.model.bars import Bars
from ticktape.model.records import Ints

NEVER = -(2**63)
Columns = dict[str, Any]
_NONE: Ints = np.zeros(0, dtype=np.int64)


def position_of(fetched_ns: int) -> int:
    """Return the position of what was fetched at a time, rounded up: it is never known before it came."""
    return BEYOND - -fetched_ns // 1_000_000


def among(columns: Columns) -> Any:
    """Say of each row of the table whether it is the venue's."""
    return columns["basis"] == KLINES


def known_before(columns: Columns, at_ns: int) -> Any:
    """Say of each row, the venue's all of them, whether it was fetched before a time."""
    return (columns["position"] - BEYOND) * 1_000_000 < at_ns


def apart(theirs: Columns, parts: Columns | None, made: Sequence[tuple[Ints, Bars]]) -> Columns:
    """Return of the venue's rows those whose minutes no tick made: not in `parts`, rows of the table, nor in `made`.

    made: bars of minutes and their keys, instrument x 4 + basis.
    """
    if len(theirs["ts_event"]) == 0:
        return theirs
    known = [_minutes(keys // 4, minutes["start"]) for keys, minutes in made]
    known += [_minutes(parts["instrument_id"], parts["ts_event"])] if parts is not None else []
    alone = ~np.isin(_minutes(theirs["instrument_id"], theirs["ts_event"]), np.concatenate([_NONE, *known]))
    return {name: values[alone] for name, values in theirs.items()}


def until(columns: Columns) -> int:
    """Return the end of the newest minute among rows; NEVER without one."""
    starts = columns["ts_event"]
    return int(starts.max()) + MINUTE_NS if len(starts) else NEVER


def _minutes(instrument: Any, start: Ints) -> Any:
    """Return one number for an instrument and the minute that a time lies in."""
    return (instrument.astype(np.int64) << 32) + start // MINUTE_NS
