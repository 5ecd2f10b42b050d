"""Running spot checks: a random minute of an instrument, compared with everything else that knows it.

What the lake has of the minute is compared with the tape while that still has the rows, with the venue's history
where the source can be asked by id, and its stored bar with one recomputed from ticks. Which minute comes from the
version of the trades and the number of the sample in it, so a check can be taken again. A minute that missed is
looked at again in turn until it passes. Results are notes in the `quality` table.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import structlog

from ticktape.errors import Damaged, Misconfigured, TicktapeError
from ticktape.keep.process import Keeper
from ticktape.lake import notes
from ticktape.lake.arrow import numpy_of
from ticktape.lake.certificate_spot import (
    MARKET_FIELDS,
    Compared,
    Miss,
    bars_of,
    compare_bars,
    compare_records,
    compare_rows,
)
from ticktape.lake.figures import SpotFigures
from ticktape.lake.files import read, stored
from ticktape.lake.history import Lake, Snapshot
from ticktape.lake.notes import TICK_TABLES, Note, Noted, With
from ticktape.lake.rows import partition_of
from ticktape.lake.schema import TABLES
from ticktape.model.bars import BarFlag
from ticktape.model.records import Channel, Ints, Kind, Records
from ticktape.model.sessions import DAY_NS, MINUTE_NS
from ticktape.tape.reader import Reader

log = structlog.get_logger("keep")

MOST_TAPE = 1 << 20  # records of the tape looked through for one minute
MOST_IDS = 50  # asked of the venue at once
PENDING = 10  # results written together; a miss is written at once
KEEP_MISSES = 5  # with both values, in a note
REMEMBER_DAYS = 30
MOST_MISSED = 1000  # minutes looked at again in turn; of more, the alerts stand until keep starts anew
_CHANNELS = {Kind.TRADE: Channel.TRADE, Kind.AGG_TRADE: Channel.AGG_TRADE}


class Sample(NamedTuple):
    """What is looked at."""

    version: int  # of the trades
    number: int  # within it
    table: str
    instrument_id: int
    minute: int  # ns


class Question(NamedTuple):
    """Records of one source with ids without a hole, to be compared with what the venue says."""

    source_id: int
    instrument_id: int
    channel: Channel
    records: Records


class Venue(Protocol):
    """A venue that can be asked again."""

    async def records(self, instrument_id: int, channel: Channel, first_id: int, last_id: int) -> Records:
        """Return what its history has of some ids. Raises Unavailable, Misconfigured."""
        ...


VenueOf = Callable[[int], Venue | None]  # by source id


def pick(snapshot: Snapshot, number: int) -> Sample | None:
    """Choose the minute around a random row, trades twice as often as quotes or book; None while there is no row."""
    version = snapshot.versions["trades"].number
    names = [name for name in ("trades", *TICK_TABLES) if snapshot.versions[name].rows]
    if not names:
        return None
    chance = np.random.default_rng((max(version, 0), number))
    name = names[int(chance.integers(len(names)))]
    files = snapshot.versions[name].files
    ends: Ints = np.cumsum([entry.rows for entry in files], dtype=np.int64)
    at = int(chance.integers(int(ends[-1])))
    k = int(np.searchsorted(ends, at, side="right"))
    entry, within = files[k], at - (int(ends[k - 1]) if k else 0)
    file = stored(snapshot.folder / name / entry.path, entry.size)
    groups: Ints = np.cumsum(file.rows, dtype=np.int64)
    g = int(np.searchsorted(groups, within, side="right"))
    place = within - (int(groups[g - 1]) if g else 0)
    rows = read(file, [g], ["instrument_id", "ts_event"])
    who, ts = (int(numpy_of(rows.column(column))[place]) for column in ("instrument_id", "ts_event"))
    return Sample(version, number, name, who, ts - ts % MINUTE_NS)


# -- comparing -----------------------------------------------------------------------------------------


def with_tape(snapshot: Snapshot, tape: Reader, sample: Sample, positions: Ints, records: Records) -> Compared | None:
    """Compare rows of the lake with the tape between the first and the last of them; None when it has none of them."""
    tape.release()
    tape.refresh()
    there = positions >= tape.first
    if not there.any():
        return None
    low = int(positions[there].min())
    high = min(int(positions[there].max()) + 1, low + MOST_TAPE, snapshot.position(sample.table))
    view = tape.view(low, high)
    mine = (view["instrument"] == sample.instrument_id) & np.isin(view["kind"], TABLES[sample.table].kinds)
    mine &= (view["ts_event"] >= sample.minute) & (view["ts_event"] < sample.minute + MINUTE_NS)
    chosen = (positions >= low) & (positions < high)
    told: Ints = np.flatnonzero(mine) + low
    return compare_rows(positions[chosen], records[chosen], told, view[mine], "lake against tape")


def with_bars(snapshot: Snapshot, sample: Sample, records: Records) -> Compared | None:
    """Compare the stored bar with what the minute's ticks make; None where bars are of another moment or expired."""
    same = snapshot.position("bars") == snapshot.position("trades")
    month = partition_of(TABLES["bars"], sample.minute)
    if not same or all(entry.partition != month for entry in snapshot.versions["bars"].files):
        return None
    end = sample.minute + MINUTE_NS
    kept = snapshot.bars([sample.instrument_id], sample.minute, end, MINUTE_NS)
    if kept.missing:
        raise Damaged(kept.missing[0].why, hint="ticktape lake verify")
    made = bars_of(records[records["kind"] != Kind.AGG_TRADE], MINUTE_NS)
    if not len(made):  # an instrument without trades has the bars of its aggregated ones
        made = bars_of(records[records["kind"] == Kind.AGG_TRADE], MINUTE_NS)
    own = kept.bars[kept.bars["flags"] & BarFlag.KLINES == 0]  # the venue's stand where no tick made one
    return compare_bars(own, made)


def question_of(sample: Sample, records: Records) -> Question | None:
    """Choose ids without a hole, of one source, that the venue can be asked for."""
    chance = np.random.default_rng((max(sample.version, 0), sample.number, 1))
    for kind, channel in _CHANNELS.items():
        mine = records[records["kind"] == kind]
        if not len(mine):
            continue
        mine = mine[np.argsort(mine["c"], kind="stable")]
        start = int(chance.integers(len(mine)))
        run = mine[start : start + MOST_IDS]
        broken = np.flatnonzero((np.diff(run["c"]) != 1) | (np.diff(run["source"].astype(np.int64)) != 0))
        run = run[: int(broken[0]) + 1 if len(broken) else len(run)]
        return Question(int(run["source"][0]), sample.instrument_id, channel, run)
    return None


# -- taking samples --------------------------------------------------------------------------------------


class Spotter:
    """Takes one sample after the other. Its steps are plain calls; only `ask` waits for somebody else."""

    def __init__(
        self, keeper: Keeper, tape: Reader, instruments: Sequence[int], venue_of: VenueOf = lambda _: None
    ) -> None:
        self._keeper, self._tape, self._lake = keeper, tape, Lake(keeper.settings.data / "lake")
        self._venue_of = venue_of
        self._pending: list[Note] = []
        self._missed = _still_missed(keeper)
        self._last = (-1, -1)
        self._turn = 0
        for with_ in With:
            keeper.figures.spots.setdefault(with_.name.lower(), SpotFigures())
        self._remember(instruments)

    def _remember(self, instruments: Sequence[int]) -> None:
        snapshot, now = self._lake.snapshot(), self._keeper.now_ns()
        since = now - REMEMBER_DAYS * DAY_NS
        for note in notes.read(snapshot, [Noted.SPOT], instruments, since, now + DAY_NS, bodies=False):
            self._count(note)
            self._last = max(self._last, (note.c, note.d))

    def _count(self, note: Note) -> None:
        figures = self._keeper.figures.spots[With(note.side).name.lower()]
        figures.checked += note.a
        figures.passed += note.b
        figures.samples += 1

    @property
    def missed(self) -> int:
        """How many minutes are looked at again in turn."""
        return len(self._missed)

    def take(self) -> tuple[Sample, list[tuple[With, Compared]], Question | None] | None:
        """Choose a minute and compare it with what is here; None while there is nothing. Raises Damaged."""
        snapshot = self._lake.snapshot()
        sample = self._next(snapshot)
        if sample is None:
            return None
        end = sample.minute + MINUTE_NS
        positions, records = snapshot.records(sample.table, [sample.instrument_id], sample.minute, end)
        found: list[tuple[With, Compared]] = []
        if (compared := with_tape(snapshot, self._tape, sample, positions, records)) is not None:
            found.append((With.TAPE, compared))
        question = None
        if sample.table == "trades":
            if (compared := with_bars(snapshot, sample, records)) is not None:
                found.append((With.BARS, compared))
            question = question_of(sample, records)
        known = question is not None and self._venue_of(question.source_id) is not None
        return sample, found, question if known else None

    def _next(self, snapshot: Snapshot) -> Sample | None:
        version = snapshot.versions["trades"].number
        number = self._last[1] + 1 if version == self._last[0] else 0
        self._last, self._turn = (version, number), self._turn + 1
        if self._missed and self._turn % 2 == 0:  # every second sample looks again at what missed
            again = self._missed.pop(0)
            self._missed.append(again)
            return again._replace(version=version, number=number)
        return pick(snapshot, number)

    async def ask(self, question: Question) -> Compared:
        """Compare with what the venue says. Raises Unavailable, Misconfigured."""
        ids = question.records["c"]
        venue = self._venue_of(question.source_id)
        if venue is None:
            raise Misconfigured(f"nobody can be asked of source {question.source_id}", hint="see config.example.toml")
        said = await venue.records(question.instrument_id, question.channel, int(ids[0]), int(ids[-1]))
        return compare_records(question.records, said, "lake against venue", MARKET_FIELDS)

    def store(self, sample: Sample, found: Sequence[tuple[With, Compared]]) -> None:
        """Take in the results of a sample: figures, alerts, and notes in the lake."""
        for with_, compared in found:
            if compared.checked:
                self._pending.append(_note(sample, with_, compared, self._keeper.now_ns()))
                self._count(self._pending[-1])
                self._alert(sample, with_, compared)
        if len(self._pending) >= PENDING or any(compared.misses for _, compared in found):
            self.write()

    def _alert(self, sample: Sample, with_: With, compared: Compared) -> None:
        key = f"{with_.name.lower()} {sample.table} {sample.instrument_id} {sample.minute}"
        if compared.misses:
            first = compared.misses[0]
            message = (
                f"{first.what}: {first.key}: {first.field} is {first.left} and {first.right};"
                f" {compared.passed} of {compared.checked} passed"
            )
            new = self._keeper.alerts.start("spot_miss", key, message, detail=_values(first))
            if new and len(self._missed) < MOST_MISSED:
                self._missed.append(sample)
        elif self._keeper.alerts.clear("spot_miss", key):
            self._missed = [s for s in self._missed if s[2:] != sample[2:]] + self._others(sample)

    def _others(self, sample: Sample) -> list[Sample]:
        # The minute may still miss in another comparison.
        about = f" {sample.table} {sample.instrument_id} {sample.minute}"
        standing = self._keeper.alerts.standing()
        return [sample] if any(a.kind == "spot_miss" and a.subject.endswith(about) for a in standing) else []

    def write(self) -> None:
        """Write what waits. A crash before loses at most PENDING results, none of them a miss; nothing is doubled."""
        if self._pending:
            self._keeper.note(self._pending, "spot")
            self._pending.clear()

    async def run_one(self, to_thread: Callable[..., Awaitable[Any]]) -> bool:
        """Take a sample from here to its note. Returns False while there is nothing to look at."""
        taken = await to_thread(self.take)
        if taken is None:
            return False
        sample, found, question = taken
        if question is not None:
            try:
                found = [*found, (With.VENUE, await self.ask(question))]
            except TicktapeError as error:
                self._keeper.figures.venue_away += 1
                log.info("spot.venue_away", why=error.message)
        await to_thread(self.store, sample, found)
        return True


def _note(sample: Sample, with_: With, compared: Compared, now_ns: int) -> Note:
    body = msgspec.json.encode(compared.misses[:KEEP_MISSES]) if compared.misses else None
    return Note(
        Noted.SPOT, sample.instrument_id, sample.minute, now_ns, int(with_), compared.checked, compared.passed,
        sample.version, sample.number, body,
    )  # fmt: skip


def _values(miss: Miss) -> dict[str, Any]:
    # Both as text: what reads the book in a browser has no 64-bit integers.
    return {"field": miss.field, "key": miss.key, "left": str(miss.left), "right": str(miss.right)}


def _still_missed(keeper: Keeper) -> list[Sample]:
    found: dict[Sample, None] = {}
    for alert in keeper.alerts.standing():
        parts = alert.subject.split(" ")
        if alert.kind == "spot_miss" and len(parts) == 4:
            found[Sample(0, 0, parts[1], int(parts[2]), int(parts[3]))] = None
    return list(found)


def pass_rate(spots: Mapping[str, SpotFigures]) -> float | None:
    """Return the share of all comparisons that passed, None when there were none."""
    checked = sum(each.checked for each in spots.values())
    return sum(each.passed for each in spots.values()) / checked if checked else None
