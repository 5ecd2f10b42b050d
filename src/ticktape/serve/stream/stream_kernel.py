"""Which records a subscription wants, and where bars may have closed: one pass each over what is new.

`watch` repeats what `readers/bar_kernel.py` knows of time, so that bars are announced at the very record that closed
them: then an announcement is a function of the tape alone, whatever portions it is read in.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel
from ticktape.model.bars import SECOND_NS
from ticktape.model.records import Flag, Kind
from ticktape.serve.readers.bar_kernel import GRACE_NS, MAX_AHEAD_NS, NEWEST, VENUE_NOW, tell_time

# Bits of a mask: what is wanted of an instrument.
TRADES, QUOTES, BOOK, GAPS, STATUS, AGG = 1, 2, 4, 8, 16, 32

BIT_OF = np.zeros(256, dtype=np.uint8)
BIT_OF[[Kind.TRADE, Kind.CORRECT, Kind.CANCEL]] = TRADES
BIT_OF[Kind.AGG_TRADE] = AGG
BIT_OF[Kind.QUOTE] = QUOTES
BIT_OF[Kind.BOOK] = BOOK
BIT_OF[Kind.GAP] = GAPS
BIT_OF[Kind.STATUS] = STATUS

# Why `watch` stopped.
DONE, CLOCK, CLOSED, REVISED, GAP, FULL = range(6)

_TRADE, _QUOTE, _AGG, _CLOCK = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.AGG_TRADE), int(Kind.CLOCK)
_CORRECT, _CANCEL, _GAP = int(Kind.CORRECT), int(Kind.CANCEL), int(Kind.GAP)
_BACKFILLED = int(Flag.BACKFILLED)
_LEFT_OUT = int(Flag.NON_POSITIVE | Flag.CROSSED | Flag.SPIKE)


@kernel
def choose(
    records: Any, base: int, start: int, stop: int, mask: Any, since: int, until: int, quoted: Any, throttle: float,
    out: Any,
) -> Any:  # fmt: skip
    """Note in `out` the places in [start, stop) that are wanted and happened in [since, until) of venue time.

    mask (n,): bits by instrument; quoted (n, 2): the bid and ask last let through, 0 none; a quote that moved
    neither by more than `throttle` of itself is passed over. Returns (first place not looked at, noted, passed over).
    """
    count = passed = 0
    for place in range(start, stop):
        r = records[place - base]
        who = np.int64(r.instrument)
        if who >= mask.shape[0] or not mask[who] & BIT_OF[r.kind] or r.ts_event < since or r.ts_event >= until:
            continue
        if count == out.shape[0]:
            return place, count, passed
        if r.kind == _QUOTE and throttle > 0.0:
            bid, ask = quoted[who, 0], quoted[who, 1]
            if abs(r.a - bid) <= throttle * abs(bid) and abs(r.b - ask) <= throttle * abs(ask):
                passed += 1
                continue
            quoted[who, 0], quoted[who, 1] = r.a, r.b
        out[count] = place
        count += 1
    return stop, count, passed


@kernel
def span(records: Any, base: int, start: int, stop: int) -> Any:
    """Return the least and the greatest venue time of the market's records in [start, stop)."""
    least, greatest = np.int64(2**63 - 1), np.int64(-(2**63))
    for place in range(start, stop):
        r = records[place - base]
        if BIT_OF[r.kind]:
            least, greatest = min(least, r.ts_event), max(greatest, r.ts_event)
    return least, greatest


@kernel
def tally(records: Any, base: int, start: int, stop: int, chain_of: Any, chains: int, counts: Any) -> None:
    """Count the records of each chain of each instrument in [start, stop)."""
    for place in range(start, stop):
        r = records[place - base]
        key = np.int64(r.instrument) * chains + chain_of[r.kind]
        if r.instrument > 0 and key < counts.shape[0]:
            counts[key] += 1


@kernel
def watch(
    records: Any, base: int, start: int, stop: int, wanted: Any, marks: Any, kinds: Any, clock: Any, late: Any,
    state: Any,
) -> Any:  # fmt: skip
    """Walk on until something may have closed.

    wanted, marks: by instrument and basis; late (n, 3): key, time and watermark of each tick that came after its
    second had closed; state: [how many of `late` are used, the watermark before].
    Returns (first place not to absorb, why, which).
    """
    for place in range(start, stop):
        r = records[place - base]
        kind = r.kind
        if kind == _CLOCK:
            state[1] = clock[VENUE_NOW] - GRACE_NS
            tell_time(r, clock)
            return place + 1, CLOCK, 0
        if kind == _GAP:
            return place + 1, GAP, place
        if kind == _CORRECT or kind == _CANCEL:
            if np.int64(r.instrument) * 2 < wanted.shape[0] and wanted[np.int64(r.instrument) * 2]:
                return place, REVISED, place
            continue
        if kind != _TRADE and kind != _QUOTE and kind != _AGG:
            continue
        if kind != _QUOTE and kinds[r.instrument] != kind:
            if kind == _AGG and kinds[r.instrument] != 0:
                continue
            kinds[r.instrument] = kind
        if r.flags & _LEFT_OUT:
            continue
        key = np.int64(r.instrument) * 2 + (1 if kind == _QUOTE else 0)
        ts = r.ts_event
        before = max(marks[key], clock[VENUE_NOW] - GRACE_NS)
        if wanted[key] and ts - ts % SECOND_NS + SECOND_NS <= before:
            if state[0] == late.shape[0]:
                return place, FULL, 0
            late[state[0], 0], late[state[0], 1], late[state[0], 2] = key, ts, before
            state[0] += 1
        if r.flags & _BACKFILLED or ts > r.ts_recv + MAX_AHEAD_NS:
            continue
        clock[NEWEST] = max(clock[NEWEST], ts)
        if ts > marks[key]:
            marks[key] = ts
            if wanted[key] and ts // SECOND_NS > before // SECOND_NS:
                state[1] = before
                return place + 1, CLOSED, key
    return stop, DONE, 0
