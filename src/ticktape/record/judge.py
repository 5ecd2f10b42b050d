"""The judge: one kernel call a batch finds duplicates, holes and doubtful values, links, commits.

A duplicate is counted and not stored. Everything else is stored as it came, with flags. A hole in a dense
sequence, and the first good record after an outage, put a GAP record on the tape in the same commit.

A record is never dropped on the word of one strange id: what is strictly newer than all before it cannot be
a repeat, and numbering starts anew only when a second id confirms it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel, part
from ticktape.model.records import BACK_FAR, Flag, GapCause, GapState, Kind
from ticktape.record.holes import BEFORE_ALL, NIL, free_all, new_hole, take
from ticktape.tape.kernels import CHAIN_AGG, CHAIN_OF, CHAIN_OTHER, CHAINS, WORDS, commit, link

RULE_NONE, RULE_RISING, RULE_DENSE = range(3)
NO_ID = -(2**63)
MOST_ID = 2**63 - 1

CELL = np.dtype(
    [
        ("last_id", "<i8"),  # highest accepted id of this numbering
        ("first_id", "<i8"),  # the id this numbering was met with
        ("other_id", "<i8"),  # an id that may be the first of a new numbering
        ("last_ts", "<i8"),  # newest ts_event
        ("last_recv", "<i8"),
        ("price", "<i8"),  # last price that was no spike
        ("other_price", "<i8"),  # a spike that the next price may confirm
        ("gap", "<i8"),  # position of the open GAP record, or -1
        ("gap_ts", "<i8"),  # where that gap starts
        ("count", "<i8"),  # records stored as they came, without what history filled in
        ("repeats", "<i8"),  # called repeats since the last record was stored, and the newest of them:
        ("twin_id", "<i8"),
        ("twin_ts", "<i8"),
        ("twin_price", "<i8"),
        ("twin_size", "<i8"),
        ("hole", "<i4"),  # head of the list of holes
        ("gap_cause", "u1"),
        ("dropping", "u1"),  # inside a venue message that is a repeat
        ("fresh", "u1"),  # 0 until the first record
        ("_", "u1"),
    ],
    align=True,
)

PARAMS = np.dtype(
    [
        ("late_after_ns", "<i8"),
        ("max_age_ns", "<i8"),
        ("max_skew_ns", "<i8"),
        ("max_hole", "<i8"),
        ("max_move", "<f8"),
    ],
    align=True,
)

# What is counted, in this order, per source.
COUNTED = (
    "stored",
    "duplicates",
    "out_of_order",
    "late",
    "stale",
    "spike",
    "crossed",
    "non_positive",
    "clock_skew",
    "gaps",
    "missing_ids",
    "resets",
)
(
    STORED,
    DUPLICATES,
    OUT_OF_ORDER,
    LATE,
    STALE,
    SPIKE,
    CROSSED,
    NON_POSITIVE,
    CLOCK_SKEW,
    GAPS,
    MISSING_IDS,
    RESETS,
) = range(len(COUNTED))

_GAP, _CLOSED, _SEQUENCE, _RESET = int(Kind.GAP), int(GapState.CLOSED), int(GapCause.SEQUENCE), int(GapCause.RESET)
_OPENED = int(GapState.OPENED)
_TRADE, _QUOTE, _BOOK, _AGG = int(Kind.TRADE), int(Kind.QUOTE), int(Kind.BOOK), int(Kind.AGG_TRADE)
_F_ORDER, _F_LATE, _F_STALE, _F_SPIKE = int(Flag.OUT_OF_ORDER), int(Flag.LATE), int(Flag.STALE), int(Flag.SPIKE)
_F_CROSSED, _F_NONPOS, _F_SKEW = int(Flag.CROSSED), int(Flag.NON_POSITIVE), int(Flag.CLOCK_SKEW)
_F_BACK, _F_SNAP, _F_FIRST, _F_LAST = int(Flag.BACKFILLED), int(Flag.SNAPSHOT), int(Flag.FIRST), int(Flag.LAST)
_QUALITY = 0x7F  # the bits from OUT_OF_ORDER to CLOCK_SKEW, counted one by one
_F_AFTER, _F_NOTIME = int(Flag.AFTER_GAP), int(Flag.NO_VENUE_TIME)
_OUR_TIME = _F_SNAP | _F_NOTIME  # a snapshot stamped by our clock, between records stamped by the venue's

# What the id of a record says.
SAME, NEXT, JUMP, FILL, FIRST, STRANGE, ANEW = range(7)


@part
def dense_id(cell: Any, holes: Any, pool: Any, number: int, newer: bool, max_hole: int) -> int:
    """Place an id in a dense sequence, moving the cell on. Returns SAME for a repeat, else what it is."""
    if cell.last_id == NO_ID:
        cell.last_id = cell.first_id = number
        cell.hole = np.int32(new_hole(holes, pool, BEFORE_ALL, number - 1, NIL))
        return FIRST
    if number == cell.last_id + 1:
        cell.last_id = number
        cell.other_id = NO_ID  # the numbering goes on: what was strange was a fault
        return NEXT
    if number > cell.last_id and number - cell.last_id <= max_hole:
        k = new_hole(holes, pool, cell.last_id + 1, number - 1, cell.hole)
        if k != NIL:
            cell.hole = np.int32(k)
        cell.last_id = number
        return JUMP
    if number < cell.last_id:
        head, was_missing = take(holes, pool, cell.hole, number)
        cell.hole = np.int32(head)
        if was_missing:
            if number >= cell.first_id or not newer:
                return FILL
            # Below all there ever was, yet newer than all: a venue that numbers anew, unless it is a fault.
            if number != cell.other_id + 1:
                cell.other_id = number
                return STRANGE
    if cell.other_id != NO_ID and number == cell.other_id + 1:
        free_all(holes, pool, cell.hole)
        cell.hole = np.int32(new_hole(holes, pool, BEFORE_ALL, number - 2, NIL))
        cell.last_id = number
        cell.first_id = number - 1
        cell.other_id = NO_ID
        return ANEW
    if number > cell.last_id or newer:
        if number == cell.other_id:
            return SAME
        cell.other_id = number
        return STRANGE
    return SAME


@part
def rising_id(cell: Any, number: int, flags: int, newer: bool) -> int:
    """Place a message id that rises: the decision at its FIRST record holds to its LAST."""
    if flags & _F_FIRST:
        repeat = number <= cell.last_id and not newer and not flags & _F_SNAP and cell.last_id != NO_ID
        cell.dropping = np.uint8(1 if repeat else 0)
        if not repeat:
            cell.last_id = number
    drop = cell.dropping
    if flags & _F_LAST:
        cell.dropping = np.uint8(0)
    return SAME if drop else NEXT


@part
def price_flags(cell: Any, price: int, max_move: float) -> int:
    """Judge a price against the last good one; a second price near the first strange one confirms it."""
    if cell.price <= 0 or price <= 0:
        if price > 0:
            cell.price = price
        return 0
    if abs(price - cell.price) <= max_move * cell.price:
        cell.price = price
        cell.other_price = 0
        return 0
    if cell.other_price > 0 and abs(price - cell.other_price) <= max_move * cell.other_price:
        cell.price = price
        cell.other_price = 0
        return 0
    cell.other_price = price
    return _F_SPIKE


@part
def value_flags(cell: Any, r: Any, max_move: float) -> int:
    """Return the flags of a record's prices and sizes."""
    flags = 0
    if r.kind == _QUOTE:
        if r.a <= 0 or r.b <= 0 or r.c < 0 or r.d < 0:
            return _F_NONPOS
        if r.a > r.b:
            flags |= _F_CROSSED
        elif price_flags(cell, (r.a + r.b) >> 1, max_move):
            flags |= _F_SPIKE
    elif r.kind == _BOOK:
        if r.a <= 0 or r.b < 0:
            flags |= _F_NONPOS
    elif r.kind == _TRADE or r.kind == _AGG:
        if r.a <= 0 or r.b <= 0:
            flags |= _F_NONPOS
        elif not r.flags & _F_BACK:
            flags |= price_flags(cell, r.a, max_move)
    return flags


@part
def remember_price(cell: Any, r: Any) -> None:
    """Bring the prices of a cell to where judging a stored record left them."""
    if r.kind == _BOOK or r.flags & (_F_NONPOS | _F_CROSSED) or (r.kind != _QUOTE and r.flags & _F_BACK):
        return
    price = (r.a + r.b) >> 1 if r.kind == _QUOTE else r.a
    if r.flags & _F_SPIKE:
        cell.other_price = price
        return
    if cell.price > 0:
        cell.other_price = 0
    cell.price = price


@part
def time_flags(cell: Any, r: Any, p: Any) -> int:
    """Return the flags of a live record's times."""
    flags = 0
    if cell.fresh and r.ts_event < cell.last_ts and r.flags & _OUR_TIME != _OUR_TIME:
        flags |= _F_ORDER
        if cell.last_ts - r.ts_event > p.late_after_ns:
            flags |= _F_LATE
    if not r.flags & _F_NOTIME:
        if r.ts_recv - r.ts_event > p.max_age_ns:
            flags |= _F_STALE
        elif r.ts_event - r.ts_recv > p.max_skew_ns:
            flags |= _F_SKEW
    return flags


@part
def count_flags(counts: Any, flags: int) -> None:
    """Count the quality bits of one stored record."""
    for bit in range(7):
        if flags >> bit & 1:
            counts[OUT_OF_ORDER + bit] += 1


@part
def write_gap(
    records: Any, words: Any, base: int, position: int, heads: Any, r: Any, cell: Any, cause: int, first: int, last: int
) -> None:
    """Write the GAP record that closes what was missing before `r`."""
    i = position - base
    w = i * WORDS
    for k in range(WORDS):
        words[w + k] = np.uint64(0)
    start = cell.gap_ts if cell.gap >= 0 else cell.last_ts
    records[i].ts_event = start
    records[i].ts_recv = r.ts_recv
    records[i].a = cell.gap if cell.gap >= 0 else position
    records[i].b = first
    records[i].c = last
    micros = max(r.ts_event - start, 0) // 1000
    records[i].d = cause | (np.int64(CHAIN_OF[r.kind]) + 1) << 8 | micros << 16
    records[i].instrument = r.instrument
    records[i].source = r.source
    records[i].kind = np.uint8(_GAP)
    records[i].side = np.uint8(_CLOSED)
    link(records, base, position, heads)
    cell.gap = -1


@part
def move_on(cell: Any, r: Any) -> None:
    """Remember the newest times of a cell."""
    if not cell.fresh or (r.ts_event > cell.last_ts and r.flags & _OUR_TIME != _OUR_TIME):
        cell.last_ts = r.ts_event
    cell.last_recv = r.ts_recv
    cell.fresh = np.uint8(1)
    if not r.flags & _F_BACK:
        cell.count += 1
        cell.repeats = 0


@part
def note_repeat(cell: Any, r: Any) -> None:
    """Remember what a repeat said: record/renumbered.py compares it with what the tape has under its id."""
    cell.repeats += 1
    cell.twin_id = r.c
    cell.twin_ts = r.ts_event
    cell.twin_price = r.a
    cell.twin_size = r.b


@part
def forget_ids(cell: Any, holes: Any, pool: Any) -> None:
    """Let the next record be the first of a new numbering, whatever its id and its time."""
    free_all(holes, pool, cell.hole)
    cell.hole = np.int32(NIL)
    cell.last_id = NO_ID
    cell.first_id = NO_ID
    cell.other_id = NO_ID
    cell.last_ts = 0
    cell.repeats = 0


@kernel
def renumber(cells: Any, holes: Any, pool: Any, key: int) -> None:
    """Forget the ids of one cell."""
    forget_ids(cells[key], holes, pool)


@part
def place(cell: Any, holes: Any, pool: Any, r: Any, rule: int, max_hole: int) -> int:
    """Return what the id of a record says under its channel's rule."""
    newer = cell.fresh and r.ts_event > cell.last_ts
    if rule == RULE_DENSE:
        return dense_id(cell, holes, pool, r.c, newer, max_hole)
    if rule == RULE_RISING:
        return rising_id(cell, r.c, r.flags, newer)
    return NEXT


@kernel
def judge_append(
    stage: Any, words: Any, position: int, limit: int, heads: Any, batch: Any, first: int, state: Any, epoch: int
) -> Any:
    """Judge batch[first:], stage what is new from `position` on as far as there is room, and a commit.

    `state` is (cells, holes, pool, rules, counts, params). Returns (index of the first record not looked at,
    position after the commit). A record may take two places, and the commit one. Stops early at an instrument
    that has no cell and when the pool of holes is used up: the caller makes room and goes on.
    """
    cells, holes, pool, rules, counts, params = state
    p = params[0]
    n = batch.shape[0]
    out = position
    j = first
    while j < n and out + 3 <= limit:
        r = batch[j]
        chain = np.int64(CHAIN_OF[r.kind])
        key = np.int64(r.instrument) * CHAINS + chain
        if key >= cells.shape[0] or pool[0] == NIL:
            break
        tally = counts[r.source]
        flags = np.int64(r.flags)
        if chain != CHAIN_OTHER and r.kind <= _AGG:
            cell = cells[key]
            before = cell.last_id
            rule = rules[np.int64(r.source) * CHAINS + chain]
            said = place(cell, holes, pool, r, rule, p.max_hole)
            if said == SAME:
                tally[DUPLICATES] += 1
                if not flags & _F_BACK:
                    note_repeat(cell, r)
                j += 1
                continue
            live = not flags & _F_BACK
            # One strange id, or one that came late, does not say where the sequence goes on.
            ends = cell.gap >= 0 and live and said != STRANGE and said != FILL
            if said == JUMP or said == ANEW or ends:
                # Ids that go on where they ended say so: the range is empty, but names the id.
                told = said == JUMP or (said == NEXT and rule == RULE_DENSE)
                first_id, last_id = (before + 1, r.c - 1) if told else (np.int64(0), np.int64(-1))
                cause = np.int64(cell.gap_cause) if cell.gap >= 0 else np.int64(_RESET if said == ANEW else _SEQUENCE)
                write_gap(stage, words, position, out, heads, r, cell, cause, first_id, last_id)
                out += 1
                flags |= _F_AFTER
                tally[GAPS] += 1
                if said == JUMP:
                    tally[MISSING_IDS] += last_id - first_id + 1
                if said == ANEW:
                    tally[RESETS] += 1
            if live:
                flags |= time_flags(cell, r, p)
            flags |= value_flags(cell, r, p.max_move)
            if flags & _QUALITY:
                count_flags(tally, flags)
            move_on(cell, r)
        i = out - position
        stage[i] = r
        stage[i].flags = np.uint32(flags)
        link(stage, position, out, heads)
        tally[STORED] += 1
        out += 1
        j += 1
    if out > position:
        commit(stage, words, position, position, out, epoch, stage[out - 1 - position].ts_recv)
        out += 1
    return j, out


LOST = np.dtype([(name, "<i8") for name in ("instrument", "source", "channel", "first", "last", "from_ts", "to_ts")])


@part
def _was_linked_to(damaged: Any, position: int, back: int) -> bool:
    if back == 0 or back == BACK_FAR:
        return False
    for k in range(damaged.shape[0]):  # noqa: SIM110  # a kernel has no generators
        if damaged[k, 0] <= position - back < damaged[k, 1]:
            return True
    return False


@kernel
def rebuild(records: Any, base: int, start: int, stop: int, state: Any, damaged: Any, lost: Any, known: int) -> Any:
    """Bring the cells to where they were after [start, stop).

    Returns (first position not absorbed, rows of `lost` in use, `known` of them before). Stops where an instrument
    has no cell, the pool of holes runs low or `lost` is full; the caller makes room and goes on. `lost` gets the ids
    that stood in the `damaged` ranges (n, 2), as far as dense ids tell.
    """
    cells, holes, pool, rules, _, params = state
    p = params[0]
    for position in range(start, stop):
        r = records[position - base]
        if r.kind == 0 or r.kind >= 30:
            continue
        chain = np.int64(CHAIN_OF[r.kind])
        key = np.int64(r.instrument) * CHAINS + chain
        if key >= cells.shape[0] or pool[0] == NIL or known == lost.shape[0]:
            return position, known
        if r.kind == _GAP:
            _absorb_gap(cells, holes, pool, r, position)
        elif r.kind <= _AGG:
            cell = cells[key]
            before = cell.last_id
            said = place(cell, holes, pool, r, rules[np.int64(r.source) * CHAINS + chain], p.max_hole)
            if said == JUMP and _was_linked_to(damaged, position, np.int64(r.back)):
                lost[known].instrument = r.instrument
                lost[known].source = r.source
                lost[known].channel = chain + 1
                lost[known].first = before + 1
                lost[known].last = r.c - 1
                lost[known].from_ts = cell.last_ts
                lost[known].to_ts = r.ts_event
                known += 1
            remember_price(cell, r)
            move_on(cell, r)
    return stop, known


@part
def _absorb_gap(cells: Any, holes: Any, pool: Any, r: Any, position: int) -> None:
    channel = r.d >> 8 & 0xFF
    if channel < 1 or channel > CHAIN_AGG + 1:
        return
    cell = cells[np.int64(r.instrument) * CHAINS + channel - 1]
    if r.side == _OPENED:
        cell.gap = position
        cell.gap_ts = r.ts_event
        cell.gap_cause = np.uint8(r.d & 0xFF)
        if r.d & 0xFF == _RESET:
            forget_ids(cell, holes, pool)
    elif r.side == _CLOSED and cell.gap == r.a:
        cell.gap = -1
