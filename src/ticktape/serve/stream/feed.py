"""What is new on the tape, looked at once for all clients of a process: counts, texts, bars, books."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from ticktape.alerts import Alert, AlertBook
from ticktape.model.bars import TIMEFRAMES, Basis
from ticktape.model.book import Book
from ticktape.model.gaps import FOREVER_NS
from ticktape.model.records import Flag, Ints, Kind, Side
from ticktape.serve import row_texts
from ticktape.serve.encode import decimal_text
from ticktape.serve.readers.gaps import GapLedger
from ticktape.serve.stream import stream_kernel as kernel
from ticktape.serve.stream.bar_feed import BarEvent, BarFeed, Tape, bar_head
from ticktape.serve.stream.pieces import Piece, of_tape
from ticktape.serve.stream.reel import highest, last_clock, warm
from ticktape.serve.stream.rows import Rows, quoted
from ticktape.serve.stream.wants import Wants
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.kernels import CHAIN_BOOK, CHAIN_OF, CHAIN_OTHER, CHAINS
from ticktape.tape.reader import Reader

CHUNK = 1 << 16  # records taken in before others get their turn
KEPT_TEXTS = 1 << 14
KEPT_BARS = 1 << 16  # announcements that a client who comes back may still get from here
LEVELS = 20  # of a book, a side
OPENS = Flag.SNAPSHOT | Flag.FIRST
TOLD = 1_000  # records of gaps and statuses among which a snapshot looks


class Feed:
    """Follows a tape. `position` is the first that clients have not been told of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reader = Reader(folder)
        self.directory = TapeDirectory(folder)
        self.rows = Rows(self.directory)
        self.position = self.reader.follow()
        self._counts: Ints = np.zeros(len(self.reader.heads), dtype=np.int64)
        self._texts: dict[int, str] = {}
        self._bar_feed: BarFeed | None = None
        self._bar_position = 0
        self._watched: dict[int, int] = {}  # instrument -> since which position its bars are announced
        self._journal: deque[BarEvent] = deque(maxlen=KEPT_BARS)
        self._forgot = 0  # announcements before this position are not kept
        self._books: dict[int, tuple[Book, int]] = {}
        self._lock = asyncio.Lock()
        self._alerts = AlertBook(folder.parent)
        self._change = self._alerts.last_change()

    def close(self) -> None:
        """Close the files."""
        self._alerts.close()
        self.directory.close()

    def step(self) -> int:
        """Take in up to a chunk of what came. Returns how many records."""
        reader = self.reader
        reader.refresh()
        start, stop = max(self.position, reader.first), min(reader.end, self.position + CHUNK)
        if stop <= start:
            return 0
        reader.follow()
        if len(self._counts) < len(reader.heads):
            grown = np.zeros(len(reader.heads), dtype=np.int64)
            grown[: len(self._counts)] = self._counts
            self._counts = grown
        kernel.tally(reader.records, reader.base, start, stop, CHAIN_OF, CHAINS, self._counts)
        self.position = stop
        self._follow_bars()
        if len(self._texts) > KEPT_TEXTS:
            self._texts.clear()
        return stop - start

    # -- records -----------------------------------------------------------------------------------

    def counts_of(self, chains: Ints) -> Ints:
        """Return how many records each chain has had since this began to follow."""
        return self._counts[chains[chains < len(self._counts)]] if len(chains) else np.zeros(0, dtype=np.int64)

    def heads_of(self, chains: Ints) -> Ints:
        """Return the newest position of each chain below `position`; -1 where there is none."""
        heads = self.reader.heads[chains[chains < len(self.reader.heads)]]
        return heads[heads < self.position]

    def texts(self, places: list[int], bars: list[BarEvent]) -> list[str]:
        """Return the events of records in order, with bars among them, each written once for all who ask."""
        known = self._texts
        lacking = [place for place in places if place not in known]
        if lacking:
            array = np.array(lacking, dtype=np.int64)
            known.update(
                zip(lacking, self.rows.texts(self.reader.records[array - self.reader.base], array), strict=True)
            )
        if not bars:
            return [known[place] for place in places]
        both = [(place, 0, known[place]) for place in places]
        both += [(event.position, 1 + k, event.text) for k, event in enumerate(bars)]
        return [text for _, _, text in sorted(both)]

    # -- bars --------------------------------------------------------------------------------------

    async def watch_bars(self, instruments: list[int]) -> None:
        """Announce the bars of these from now on. The first time, the bars of the whole tape are built."""
        async with self._lock:
            if self._bar_feed is None:
                feed, reader = BarFeed(self.directory), Reader(self.folder)
                start = await asyncio.to_thread(_built, feed, reader)
                self._bar_position, self._bar_feed = start, feed
                self._forgot = start
        new = [number for number in instruments if number not in self._watched]
        if new:
            self._bar_feed.watch([(number, Basis.TRADES) for number in new])
            self._watched |= dict.fromkeys(new, self._bar_position)
        self._follow_bars()

    def _follow_bars(self) -> None:
        if self._bar_feed is None:
            return
        start = max(self._bar_position, self.reader.first)
        if start < self.position:
            piece = of_tape(self.reader, start, self.position)
            found = self._bar_feed.advance(piece, self.reader, highest(piece))
            if len(self._journal) + len(found) > KEPT_BARS and self._journal:
                self._forgot = self._journal[min(len(found), len(self._journal)) - 1].position + 1
            self._journal.extend(found)
            self._bar_position = self.position

    def bars(self, wants: Wants, start: int, stop: int) -> list[BarEvent]:
        """Return the announcements of [start, stop) that are wanted, in order."""
        if not wants.bars:
            return []
        found: list[BarEvent] = []
        for event in reversed(self._journal):
            if event.position < start:
                break
            if event.position < stop and event.timeframe in wants.bars.get(event.instrument_id, ()):
                found.append(event)
        return found[::-1]

    def has_bars(self, wants: Wants, position: int) -> bool:
        """Say whether every announcement from a position on is still kept here."""
        if not wants.bars:
            return True
        return position >= self._forgot and all(self._watched.get(n, FOREVER_NS) <= position for n in wants.bars)

    # -- books -------------------------------------------------------------------------------------

    def books(self, instruments: tuple[int, ...], position: int) -> list[str]:
        """Return the books that changed at or after a position, as they are now."""
        heads = self.reader.heads
        keys = [(number, number * CHAINS + CHAIN_BOOK) for number in instruments]
        changed = [number for number, key in keys if key < len(heads) and heads[key] >= position]
        return [self._book(number) for number in changed]

    def _book(self, number: int) -> str:
        book, until = self._books.get(number, (Book(number), -1))
        head = int(self.reader.heads[number * CHAINS + CHAIN_BOOK])
        if until < head:
            n = 256
            while True:
                found = self.reader.latest(number, CHAIN_BOOK, n)
                whole = (found.records["flags"] & OPENS == OPENS).any() or len(found.records) < n
                if whole or (until >= 0 and int(found.positions[0]) <= until):
                    break
                n *= 4
            book.apply(found.records[found.positions > until])
            self._books[number] = book, head
        return self._book_text(book, head)

    def _book_text(self, book: Book, position: int) -> str:
        about = self.directory.by_id(book.instrument_id)
        bids, asks = (
            ",".join(
                f"[{decimal_text(price, about.price_scale)},{decimal_text(size, about.size_scale)}]"
                for price, size in book.levels(side, LEVELS)
            )
            for side in (Side.BUY, Side.SELL)
        )
        return (
            f'{{"position":{position},"kind":"book_snapshot","instrument_id":{about.id},"symbol":{quoted(about.symbol)},'
            f'"update_id":{book.update_id},"synced":{"true" if book.synced else "false"},'
            f'"bids":[{bids}],"asks":[{asks}]}}'
        )

    # -- alerts ------------------------------------------------------------------------------------

    def new_alerts(self) -> list[str]:
        """Return the alerts that were raised or cleared since the last call."""
        changed = self._alerts.changes(self._change)
        self._change = changed[-1].change if changed else self._change
        return [self._alert_text(alert) for alert in changed]

    def standing(self, wants: Wants) -> list[str]:
        """Return the alerts that stand, where they are wanted."""
        return [self._alert_text(alert) for alert in self._alerts.standing()] if wants.alerts else []

    def _alert_text(self, alert: Alert) -> str:
        # Alerts are not on the tape: their position only says when they were told.
        return f'{{"position":{self.position - 1},"kind":"alert","alert":{msgspec.json.encode(alert).decode()}}}'

    # -- snapshots ---------------------------------------------------------------------------------

    def snapshot(self, wants: Wants) -> list[str]:
        """Return how things are: the newest trade and quote, the book, the last bars, open gaps, statuses."""
        heads = self.heads_of(wants.chains)
        texts = self.texts(np.sort(heads[heads >= self.reader.first]).tolist(), [])
        texts += self.books(wants.books, self.reader.first)
        for number, names in wants.bars.items():
            for name in TIMEFRAMES:
                texts += self._last_bars(number, name) if name in names else []
        return texts + self._open_gaps(wants) + self._statuses(wants) + self.standing(wants)

    def _last_bars(self, number: int, timeframe: str) -> list[str]:
        if self._bar_feed is None:
            return []
        bars = self._bar_feed.bars.latest(number, timeframe, Basis.TRADES, 2)
        head = bar_head(self.directory.by_id(number), timeframe, Basis.TRADES, self.position - 1)
        return [head + row[1:] for row in self._bar_feed.rows(number, timeframe, Basis.TRADES, bars)]

    def _open_gaps(self, wants: Wants) -> list[str]:
        wanted: list[int] = np.flatnonzero(wants.mask & kernel.GAPS).tolist()
        texts: list[tuple[int, str]] = []
        for number in wanted:
            found = self.reader.latest(number, CHAIN_OTHER, TOLD)
            ledger = GapLedger()
            where: dict[int, int] = {}
            for k in np.flatnonzero(found.records["kind"] == Kind.GAP).tolist():
                ledger.absorb(found.records[k], int(found.positions[k]))
                where[int(found.records[k]["a"])] = k
            for gap in ledger.latest(TOLD):
                if gap.end_ns == FOREVER_NS:
                    k = where[gap.gap_id]
                    row = self.rows.texts(found.records[k : k + 1], found.positions[k : k + 1])
                    texts.append((gap.position, row[0]))
        return [text for _, text in sorted(texts)]

    def _statuses(self, wants: Wants) -> list[str]:
        if not wants.mask[0] & kernel.STATUS:
            return []
        found = self.reader.latest(0, CHAIN_OTHER, TOLD)
        last: dict[int, int] = {}
        for k in np.flatnonzero(found.records["kind"] == Kind.STATUS).tolist():
            last[int(found.records[k]["source"])] = k
        picked = np.array(sorted(last.values()), dtype=np.int64)
        return self.rows.texts(found.records[picked], found.positions[picked])

    def symbols(self, wants: Wants, most: int) -> list[str]:
        """Return the names of what is wanted, at most so many."""
        return [about.symbol for about in wants.instruments[:most]]


def _built(feed: BarFeed, reader: Reader) -> int:
    # Up to the last CLOCK: what came late since then has yet to be announced.
    stop = last_clock(reader, reader.end)
    warm(feed, reader, reader.first, stop)
    return stop


class KeptBars:
    """The announcements that a feed has kept, as a reel asks for them."""

    kept = True

    def __init__(self, feed: Feed, wants: Wants) -> None:
        self._feed, self._wants = feed, wants

    def watch(self, keys: Iterable[tuple[int, Basis]]) -> None:
        """Do nothing: they are watched."""

    def advance(self, piece: Piece, tape: Tape, most_instrument: int) -> list[BarEvent]:
        """Return what was announced in a piece."""
        return self._feed.bars(self._wants, piece.start, piece.stop)


def warm_kernels(folder: Path) -> None:
    """Load (the first time: compile) the kernels, so that no client waits for them."""
    reader = Reader(folder)
    at, bits = reader.first, np.zeros(1, dtype=np.uint8)
    out: Ints = np.zeros((1, 3), dtype=np.int64)
    kernel.choose(reader.records, reader.base, at, at, bits, 0, 0, out[:, :2].copy(), 0.0, out[0])
    kernel.span(reader.records, reader.base, at, at)
    row_texts.warm()
    kernel.tally(reader.records, reader.base, at, at, CHAIN_OF, CHAINS, out[0])
    kernel.watch(reader.records, reader.base, at, at, bits, out[0], bits, np.zeros(4, dtype=np.int64), out, out[0])
