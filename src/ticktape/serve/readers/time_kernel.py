"""Passes over ticks without building bars: tells the time, and what makes an instrument's bars.

For the part of the tape whose bars come from the lake. The same words and rules as in bar_kernel.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel
from ticktape.model.records import Flag, Kind
from ticktape.serve.readers.bar_kernel import LAST_MONOTONIC, MAX_AHEAD_NS, NEWEST, tell_time

_TRADE, _QUOTE, _AGG, _CLOCK = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.AGG_TRADE), int(Kind.CLOCK)
_LEFT_OUT = int(Flag.NON_POSITIVE | Flag.CROSSED | Flag.SPIKE | Flag.BACKFILLED)


@kernel
def pass_over(records: Any, base: int, start: int, stop: int, marks: Any, kinds: Any, clock: Any) -> Any:
    """Read the time off the records [start, stop). Returns the first position not read: at an unknown instrument."""
    for position in range(start, stop):
        r = records[position - base]
        kind = r.kind
        if kind == _CLOCK:
            if clock[LAST_MONOTONIC] == 0:
                clock[LAST_MONOTONIC] = r.b  # how long the machine was up before is no time that passed
            tell_time(r, clock)
        elif kind == _TRADE or kind == _QUOTE or kind == _AGG:
            key = np.int64(r.instrument) * 2 + (1 if kind == _QUOTE else 0)
            if key >= marks.shape[0]:
                return position
            if kind != _QUOTE and kinds[r.instrument] != kind:
                if kind == _AGG and kinds[r.instrument] != 0:
                    continue
                kinds[r.instrument] = kind
            if not r.flags & _LEFT_OUT and r.ts_event <= r.ts_recv + MAX_AHEAD_NS:
                marks[key] = max(marks[key], r.ts_event)
                clock[NEWEST] = max(clock[NEWEST], r.ts_event)
    return stop
