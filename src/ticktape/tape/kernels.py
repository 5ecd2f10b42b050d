"""Kernels over the tape: link and commit, follow, walk back, walk commits.

`records` is the whole tape as one array (see region.py) and `words` the same memory as uint64, eight a
record. A position minus `base` is an index. `heads` holds the last position of every chain: five chains
an instrument, so that the last trades are found without stepping over the quotes between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel, part
from ticktape.model.records import BACK_FAR, Kind
from ticktape.tape.crc import START, crc32c_words, step

CHAINS = 5  # trades, quotes, book, aggregated trades, everything else
CHAIN_TRADE, CHAIN_QUOTE, CHAIN_BOOK, CHAIN_AGG, CHAIN_OTHER = range(CHAINS)
WORDS = 8  # uint64 words a record
CHECKSUM_WORD = 4  # where a commit keeps its CRC: field c

_COMMIT = int(Kind.COMMIT)
_EMPTY = int(Kind.EMPTY)
_VOID = int(Kind.VOID)
_GAP = int(Kind.GAP)
_FAR = int(BACK_FAR)


def _chain_table() -> Any:
    table = np.full(256, CHAIN_OTHER, dtype=np.uint8)
    table[[Kind.TRADE, Kind.CORRECT, Kind.CANCEL]] = CHAIN_TRADE
    table[Kind.QUOTE] = CHAIN_QUOTE
    table[Kind.BOOK] = CHAIN_BOOK
    table[Kind.AGG_TRADE] = CHAIN_AGG
    return table


CHAIN_OF = _chain_table()


@part
def link(records: Any, base: int, position: int, heads: Any) -> None:
    """Chain the record at `position` to the previous one of its instrument and chain."""
    i = position - base
    key = np.int64(records[i].instrument) * CHAINS + CHAIN_OF[records[i].kind]
    before = heads[key]
    back = position - before
    if before < 0:
        records[i].back = np.uint32(0)
    elif back >= _FAR:
        records[i].back = np.uint32(_FAR)
    else:
        records[i].back = np.uint32(back)
    heads[key] = position


@part
def commit(records: Any, words: Any, base: int, start: int, position: int, epoch: int, ts: int) -> None:
    """Write the commit record of [start, position) at `position`; its CRC covers them and itself."""
    i = position - base
    w = i * WORDS
    for k in range(WORDS):
        words[w + k] = np.uint64(0)
    records[i].ts_event = ts
    records[i].ts_recv = ts
    records[i].a = position
    records[i].b = position - start
    records[i].d = epoch
    records[i].kind = np.uint8(_COMMIT)
    crc = crc32c_words(words, (start - base) * WORDS, w + WORDS)
    records[i].c = crc


@kernel
def append(stage: Any, words: Any, position: int, limit: int, heads: Any, batch: Any, first: int, epoch: int) -> int:
    """Stage batch[first:] as far as [position, limit) has room, and a commit. Returns how many went in.

    stage[0] will stand at `position`. At least two places must be free. Stops early, without the record, at an
    instrument that has no place in `heads`. A GAP whose id (a) is below 0 gets its own position as id.
    """
    keys = heads.shape[0]
    count = 0
    while first + count < batch.shape[0] and count + 1 < limit - position:
        r = batch[first + count]
        if (np.int64(r.instrument) + 1) * CHAINS > keys:
            break
        stage[count] = r
        if r.kind == _GAP and r.a < 0:
            stage[count].a = position + count
        link(stage, position, position + count, heads)
        count += 1
    if count > 0:
        commit(stage, words, position, position, position + count, epoch, stage[count - 1].ts_recv)
    return count


@kernel
def follow(records: Any, base: int, start: int, stop: int, heads: Any) -> int:
    """Bring `heads` from `start` to `stop`. Returns the instrument that has no place in heads, or -1."""
    keys = heads.shape[0]
    for position in range(start, stop):
        r = records[position - base]
        if r.kind == _COMMIT or r.kind == _EMPTY or r.kind == _VOID:
            continue
        key = np.int64(r.instrument) * CHAINS + CHAIN_OF[r.kind]
        if key >= keys:
            return np.int64(r.instrument)
        heads[key] = position
    return -1


@kernel
def walk_back(records: Any, base: int, floor: int, position: int, out: Any, positions: Any) -> int:
    """Copy the chain that ends at `position` to the end of `out`, oldest first, down to `floor`. Returns how many.

    Where a link leads to another instrument's record (damaged places were voided), the chain is found again by
    stepping back one record at a time.
    """
    if position < floor:
        return 0
    instrument = records[position - base].instrument
    chain = CHAIN_OF[records[position - base].kind]
    left = positions.shape[0]
    while left > 0 and position >= floor:
        r = records[position - base]
        if r.kind == _EMPTY or r.kind >= _VOID or r.instrument != instrument or CHAIN_OF[r.kind] != chain:
            position -= 1
            continue
        left -= 1
        out[left] = r
        positions[left] = position
        back = np.int64(r.back)
        if back == 0 or back == _FAR:
            break
        position -= back
    return positions.shape[0] - left


@kernel
def valid_commit(records: Any, words: Any, base: int, floor: int, position: int) -> int:
    """Return the first position of the batch that the record at `position` commits, or -1."""
    i = position - base
    r = records[i]
    if r.kind != _COMMIT or r.a != position or r.b < 0 or r.b > position - floor:
        return -1
    start = position - r.b
    state = START
    for k in range((start - base) * WORDS, i * WORDS):
        state = step(state, words[k])
    for k in range(WORDS):  # the commit was summed while its own checksum was still zero
        state = step(state, np.uint64(0) if k == CHECKSUM_WORD else words[i * WORDS + k])
    return start if np.int64(state ^ START) == r.c else -1


@kernel
def walk_commits(records: Any, words: Any, base: int, start: int, stop: int, damage: Any) -> Any:
    """Check every batch from `start` on.

    Returns (first position after the last good batch, batches, records, damaged ranges). Ranges that are not
    good but followed by good ones are written to `damage` (n, 2) as far as it has rows; the count goes on.
    """
    good_end = start
    batches = 0
    count = 0
    ranges = 0
    for position in range(start, stop):
        if records[position - base].kind != _COMMIT:
            continue
        first = valid_commit(records, words, base, good_end, position)
        if first < 0:
            continue
        if first > good_end:
            if ranges < damage.shape[0]:
                damage[ranges, 0] = good_end
                damage[ranges, 1] = first
            ranges += 1
        batches += 1
        count += position - first
        good_end = position + 1
    return good_end, batches, count, ranges


@kernel
def last_written(words: Any, base: int, start: int, stop: int) -> int:
    """Return the first position of [start, stop) from which on everything is zero."""
    position = stop
    while position > start:
        w = (position - 1 - base) * WORDS
        for k in range(WORDS):
            if words[w + k] != 0:
                return position
        position -= 1
    return start


@kernel
def commit_batch(records: Any, words: Any, base: int, start: int, position: int, epoch: int, ts: int) -> None:
    """Commit [start, position) at `position`, from Python."""
    commit(records, words, base, start, position, epoch, ts)
