"""Judge and append: the one way a record gets onto the tape. Owns the judge's state, rebuilt from the tape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ticktape.model.records import (
    Channel,
    GapCause,
    GapState,
    Ints,
    Kind,
    Records,
    empty,
    pack_gap,
)
from ticktape.record import holes as hole_lists
from ticktape.record import judge
from ticktape.record.memory import Memory
from ticktape.tape.kernels import CHAINS
from ticktape.tape.writer import Writer

MAX_SOURCES = 1 << 16  # what a record can carry: a kernel never reaches beyond
GAPS_AT_ONCE = 256
LOST_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """Where doubt begins."""

    late_after_s: float = 1.0
    max_age_s: float = 60.0
    max_skew_s: float = 1.0
    max_move: float = 0.10  # of the last good price
    max_hole: int = 10_000_000  # a jump beyond this is a new numbering, not a gap


class Twin(NamedTuple):
    """A record that was taken for a repeat, and how many were since anything was stored."""

    repeats: int
    id: int
    ts_event: int
    price: int
    size: int


class Appender:
    """Judges batches and appends what is new."""

    def __init__(self, tape: Writer, limits: Limits | None = None) -> None:
        self.tape = tape
        self._rules = np.zeros(MAX_SOURCES * CHAINS, dtype=np.uint8)
        self.counts: Ints = np.zeros((MAX_SOURCES, len(judge.COUNTED)), dtype=np.int64)
        self._cells = _cells(64 * CHAINS)
        self._holes, self._pool = hole_lists.new_pool(4096)
        self._params = _params(limits or Limits())
        self._state: Any = None
        self._bind()

    def _bind(self) -> None:
        self._state = (self._cells, self._holes, self._pool, self._rules, self.counts, self._params)

    # -- setting up --------------------------------------------------------------------------------

    def rule(self, source: int, channel: Channel, rule: int) -> None:
        """Say how a source numbers a channel: judge.RULE_NONE, RULE_RISING or RULE_DENSE.

        A quote carries no id: for it there is no rule.
        """
        if channel not in (Channel.ALL, Channel.QUOTE):
            self._rules[source * CHAINS + channel - 1] = rule

    def ensure(self, instrument: int) -> None:
        """Make room for an instrument id."""
        self.tape.ensure(instrument)
        need = (instrument + 1) * CHAINS
        if need > len(self._cells):
            grown = _cells(max(need, 2 * len(self._cells)))
            grown[: len(self._cells)] = self._cells
            self._cells = grown
            self._bind()

    def rebuild(self, memory: Memory | None = None) -> Any:
        """Read the tape once, so that the judge knows what it knew. Call after the rules are set.

        With a memory only what came after it is read, unless there was damage before. Returns what stood in damaged
        ranges, as far as dense ids tell (judge.LOST).
        """
        found = self.tape.opened.found
        if memory is None:
            return self._read(self.tape.first)
        lost = np.zeros(0, dtype=judge.LOST)
        if any(damage.start < memory.position for damage in found.damaged):
            lost = self._read(self.tape.first)
        self._adopt(memory)
        rest = self._read(max(memory.position, self.tape.first))
        for row in lost:  # what the memory takes for stored, and is not any more
            cell = self._cell(int(row["instrument"]), Channel(int(row["channel"])))
            first, last = int(row["first"]), min(int(row["last"]), int(cell["last_id"]))
            self._miss(cell, first, last)
        return lost if len(lost) else rest

    def _adopt(self, memory: Memory) -> None:
        self._cells, self._holes, self._pool = memory.cells, memory.holes, memory.pool
        self._bind()
        self.ensure(len(self._cells) // CHAINS - 1)

    def _miss(self, cell: Any, first: int, last: int) -> None:
        """Make [first, last] ids that were never stored, beside those that are."""
        parts: Ints = np.empty((64, 2), dtype=np.int64)
        while (n := hole_lists.ranges(self._holes, cell["hole"], hole_lists.BEFORE_ALL, judge.MOST_ID, parts)) > len(
            parts
        ):
            parts = np.empty((n, 2), dtype=np.int64)
        merged: list[tuple[int, int]] = []
        for low, high in sorted([*map(tuple, parts[:n].tolist()), (first, last)]):
            if merged and low <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], high))
            else:
                merged.append((low, high))
        cell["hole"] = hole_lists.free_all(self._holes, self._pool, cell["hole"])
        for low, high in merged:  # ascending: each goes in front
            if self._pool[hole_lists.POOL_FREE] == hole_lists.NIL:
                self._holes = hole_lists.grown(self._holes, self._pool, 2 * len(self._holes))
                self._bind()
            cell["hole"] = hole_lists.put(self._holes, self._pool, low, high, cell["hole"])

    def remember(self, followed: int, gaps: Records) -> Memory:
        """Return what is known now, as a copy."""
        known = np.flatnonzero((self._cells["fresh"] != 0) | (self._cells["gap"] >= 0))
        used = int(known[-1]) + 1 if len(known) else 1
        cells = self._cells[: -(-used // CHAINS) * CHAINS]
        return Memory(
            tape_id=self.tape.meta.tape_id, position=self.tape.position, followed=followed, cells=cells.copy(),
            holes=self._holes.copy(), pool=self._pool.copy(), gaps=gaps,
        )  # fmt: skip

    def _read(self, position: int) -> Any:
        past, found = self.tape.past, self.tape.opened.found
        damaged: Ints = np.array(found.damaged, dtype=np.int64).reshape(-1, 2)
        lost, known = np.zeros(LOST_AT_ONCE, dtype=judge.LOST), 0
        while position < found.position:
            position, known = judge.rebuild(
                past.records, past.base, position, found.position, self._state, damaged, lost, known
            )
            if position < found.position:
                self._make_room(int(past.records[position - past.base]["instrument"]))
                if known == len(lost):
                    lost = np.concatenate([lost, np.zeros(len(lost), dtype=judge.LOST)])
        return lost[:known]

    # -- appending ---------------------------------------------------------------------------------

    def append(self, batch: Records) -> int:
        """Judge and append records in order; `source` and `kind` are set. Returns the position after them.

        Raises DiskFull; what came before the record that did not fit is in and published.
        """
        tape, done, n = self.tape, 0, len(batch)
        while done < n:
            tape.room(2)
            start = tape.position
            done, position = judge.judge_append(
                tape.stage, tape.stage_words, start, tape.limit, tape.heads, batch, done, self._state, tape.epoch
            )
            if position > start:
                tape.publish(position)
            if done < n:
                self._make_room(int(batch[done]["instrument"]))
        return tape.position

    def _make_room(self, instrument: int) -> None:
        self.ensure(instrument)
        if self._pool[hole_lists.POOL_FREE] == hole_lists.NIL:
            self._holes = hole_lists.grown(self._holes, self._pool, 2 * len(self._holes))
            self._bind()

    # -- gaps --------------------------------------------------------------------------------------

    def open_gaps(self, source: int, watched: Sequence[tuple[int, Channel]], cause: GapCause, now_ns: int) -> int:
        """Put one GAP OPENED on the tape for each channel that has none open. Returns how many."""
        fresh = [(i, ch) for i, ch in watched if self._cell(i, ch)["gap"] < 0]
        for first in range(0, len(fresh), GAPS_AT_ONCE):
            self._open(source, fresh[first : first + GAPS_AT_ONCE], cause, now_ns)
        return len(fresh)

    def _open(self, source: int, fresh: Sequence[tuple[int, Channel]], cause: GapCause, now_ns: int) -> None:
        batch = empty(len(fresh))
        for row, (instrument, channel) in zip(batch, fresh, strict=True):
            cell = self._cell(instrument, channel)
            row["ts_event"] = cell["last_ts"] if cell["fresh"] else now_ns
            row["ts_recv"], row["instrument"], row["source"] = now_ns, instrument, source
            row["kind"], row["side"], row["a"], row["c"] = Kind.GAP, GapState.OPENED, -1, -1
            row["d"] = pack_gap(cause, channel, 0)
        self.tape.room(len(fresh), system=True)  # so that all are in one commit
        start = self.tape.append(batch, system=True) - 1 - len(fresh)
        for k, (instrument, channel) in enumerate(fresh):
            cell = self._cell(instrument, channel)
            cell["gap"], cell["gap_ts"], cell["gap_cause"] = start + k, batch[k]["ts_event"], cause

    def renumber(self, source: int, instrument: int, channel: Channel, now_ns: int) -> None:
        """Declare that a channel's venue began to number anew, and take its next record for the first."""
        cell = self._cell(instrument, channel)
        if cell["gap"] >= 0:
            self._close(source, instrument, channel, now_ns)
        self._open(source, [(instrument, channel)], GapCause.RESET, now_ns)
        judge.renumber(self._cells, self._holes, self._pool, instrument * CHAINS + channel - 1)
        self.counts[source, judge.RESETS] += 1

    def _close(self, source: int, instrument: int, channel: Channel, now_ns: int) -> None:
        # An open gap ends here, and nobody knows which ids it took: the numbering is another.
        cell, batch = self._cell(instrument, channel), empty(1)
        start = int(cell["gap_ts"])
        batch["ts_event"], batch["ts_recv"], batch["instrument"], batch["source"] = start, now_ns, instrument, source
        batch["kind"], batch["side"], batch["a"], batch["c"] = Kind.GAP, GapState.CLOSED, cell["gap"], -1
        batch["d"] = pack_gap(int(cell["gap_cause"]), channel, max(int(cell["twin_ts"]) - start, 0))
        self.tape.append(batch, system=True)
        cell["gap"] = -1

    def twin(self, instrument: int, channel: Channel) -> Twin:
        """Return what the newest repeat of a channel said, and how many came since anything was stored."""
        cell = self._cell(instrument, channel)
        names = ("repeats", "twin_id", "twin_ts", "twin_price", "twin_size")
        return Twin(*(int(cell[name]) for name in names))

    def declare_lost(self, lost: Any, cause: GapCause, now_ns: int) -> None:
        """Put one GAP CLOSED on the tape for each row of judge.LOST, for the filler to fill."""
        batch = empty(len(lost))
        for name, column in (("ts_event", "from_ts"), ("instrument", "instrument"), ("source", "source")):
            batch[name] = lost[column]
        batch["ts_recv"], batch["a"], batch["b"], batch["c"] = now_ns, -1, lost["first"], lost["last"]
        batch["kind"], batch["side"] = Kind.GAP, GapState.CLOSED
        for row, hole in zip(batch, lost, strict=True):
            row["d"] = pack_gap(cause, int(hole["channel"]), int(hole["to_ts"] - hole["from_ts"]))
        self.tape.append(batch, system=True)

    def missing(self, instrument: int, channel: Channel, first_id: int, last_id: int) -> int:
        """Return how many ids of [first_id, last_id] were never stored."""
        cell = self._cell(instrument, channel)
        if not cell["fresh"]:
            return 0
        above = max(0, last_id - max(first_id, int(cell["last_id"]) + 1) + 1)  # the numbering began anew since
        return int(hole_lists.count(self._holes, cell["hole"], first_id, last_id)) + above

    def missing_parts(self, instrument: int, channel: Channel, first_id: int, last_id: int) -> list[tuple[int, int]]:
        """Return the ranges of ids in [first_id, last_id] that were never stored, ascending."""
        cell = self._cell(instrument, channel)
        if not cell["fresh"]:
            return []
        parts: Ints = np.empty((64, 2), dtype=np.int64)
        while (found := hole_lists.ranges(self._holes, cell["hole"], first_id, last_id, parts)) > len(parts):
            parts = np.empty((found, 2), dtype=np.int64)
        above = max(first_id, int(cell["last_id"]) + 1)
        rest = [(above, last_id)] if above <= last_id else []  # the numbering began anew since
        return [(int(a), int(b)) for a, b in parts[:found][::-1]] + rest

    def last_recv_ns(self, instrument: int, channel: Channel) -> int:
        """Return when the last record of a channel came, our clock, or 0."""
        return int(self._cell(instrument, channel)["last_recv"])

    def stored(self, instrument: int, channel: Channel) -> int:
        """Return how many records of a channel the tape took."""
        return int(self._cell(instrument, channel)["count"])

    def last_event_ns(self, instrument: int, channel: Channel) -> int:
        """Return the newest venue time of a channel, or 0."""
        return int(self._cell(instrument, channel)["last_ts"])

    def _cell(self, instrument: int, channel: Channel) -> Any:
        self.ensure(instrument)
        return self._cells[instrument * CHAINS + channel - 1]


def _cells(n: int) -> Any:
    cells = np.zeros(n, dtype=judge.CELL)
    cells["last_id"] = cells["first_id"] = cells["other_id"] = judge.NO_ID
    cells["gap"] = -1
    cells["hole"] = hole_lists.NIL
    return cells


def _params(limits: Limits) -> Any:
    params = np.zeros(1, dtype=judge.PARAMS)
    params["late_after_ns"] = int(limits.late_after_s * 1e9)
    params["max_age_ns"] = int(limits.max_age_s * 1e9)
    params["max_skew_ns"] = int(limits.max_skew_s * 1e9)
    params["max_hole"], params["max_move"] = limits.max_hole, limits.max_move
    return params
