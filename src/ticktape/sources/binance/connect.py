"""One connection to Binance: socket, subscriptions, order book snapshots. web-socket-streams.md.

Raw streams (`/ws`) and SUBSCRIBE messages: at most 5 messages a second may go up, pongs included, and
1024 streams on one connection. A serverShutdown and a close frame in good order end the connection by
returning; everything else raises Unavailable.

Before the venue's 24 h are over the next connection begins beside this one, silent: what it reads is held until
`take_over`, and then delivered. Trades and diffs that both brought are known by their ids.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from aiolimiter import AsyncLimiter

from ticktape.errors import Misconfigured, Throttled, Unavailable
from ticktape.model.records import Channel, GapCause
from ticktape.model.symbols import shown
from ticktape.sources.binance.book import BookSync
from ticktape.sources.binance.messages import Answer, Shutdown, decode_answer
from ticktape.sources.binance.names import Names
from ticktape.sources.binance.normalise import SNAPSHOT_STREAM
from ticktape.sources.binance.rest import BinanceRest
from ticktape.sources.binance.settings import CHANNEL, BinanceSettings
from ticktape.sources.contract import Sink, Watched
from ticktape.sources.feed import FeedSocket, open_feed

MOST_STREAMS = 1024
STREAMS_A_MESSAGE = 200
SECONDS_A_MESSAGE = 0.3  # 5 a second are allowed; pongs need their share
SNAPSHOTS_AT_ONCE = 4
RETRY_SNAPSHOT_S = 1.0
MOST_HELD_BYTES = 64 << 20  # of a silent connection; then the oldest go: the other has brought them long since

_ANSWERS = (b'{"result"', b'{"code"', b'{"id"', b'{"error"')


class _Asked(NamedTuple):
    """A control message on its way: what it changes, and who waits."""

    method: str
    streams: dict[str, Watched]
    answered: asyncio.Future[None]


class Connection:
    """What lives as long as one socket. `books` and `heard` are fed by the source's `normalise`.

    One that is given the `books` of another begins silent.
    """

    def __init__(
        self, settings: BinanceSettings, names: Names, rest: BinanceRest, sink: Sink, books: BookSync | None = None
    ) -> None:
        self._settings = settings
        self._names = names
        self._rest = rest
        self._sink = sink
        self.books = books or BookSync()
        self.subscribed = asyncio.Event()  # to all it was begun with
        self._held: deque[bytes] | None = None if books is None else deque()
        self._held_bytes = 0
        self._muted = False
        self.heard: list[Answer | Shutdown] = []
        self._socket: FeedSocket | None = None
        self._subscribed: dict[str, Watched] = {}
        self._asked: dict[int, _Asked] = {}
        self._next_id = 0
        self._limiter = AsyncLimiter(1, SECONDS_A_MESSAGE)
        self._changing = asyncio.Lock()
        self._wanted: asyncio.Queue[int] = asyncio.Queue()
        self._shutdown = asyncio.Event()

    async def run(self, symbols: Sequence[str]) -> None:
        """Connect, subscribe and deliver until the end; returns when it came in good order."""
        settings = self._settings
        unit = "?timeUnit=MICROSECOND" if settings.time_unit == "us" else ""
        socket = self._socket = await open_feed(
            f"{settings.ws_url.rstrip('/')}/ws{unit}",
            self,
            max_message_bytes=settings.max_frame_bytes,
            proxy=settings.proxy,
            timeout_s=settings.answer_timeout_s,
        )
        try:
            fetchers = [self._fetch_snapshots() for _ in range(SNAPSHOTS_AT_ONCE)]
            await _first_of(self._end(socket), self._shutdown.wait(), self._follow(symbols), *fetchers)
        finally:
            self._abandon()
            await socket.close()

    async def change(self, add: Sequence[str], remove: Sequence[str]) -> None:
        """Subscribe and unsubscribe. Raises Unavailable when the venue does not answer."""
        async with self._changing:
            gone = [stream for stream in self._streams(remove) if stream in self._subscribed]
            new = {stream: it for stream, it in self._streams(add).items() if stream not in self._subscribed}
            check_room(len(self._subscribed) - len(gone) + len(new))
            for chunk in _chunks(gone):
                await self._ask("UNSUBSCRIBE", {stream: self._subscribed[stream] for stream in chunk})
            for chunk in _chunks(list(new)):
                await self._ask("SUBSCRIBE", {stream: new[stream] for stream in chunk})

    def on_frames(self, frames: list[bytes]) -> None:
        """Pass on what one read brought; an awaited answer takes effect before what follows it."""
        if self._muted:
            return
        if self._held is not None:
            self._hold(self._held, frames)
            return
        ts_recv = self._sink.now_ns()
        while self._asked:
            at = next((i for i, frame in enumerate(frames) if frame.startswith(_ANSWERS)), None)
            if at is None:
                break
            self._deliver(frames[: at + 1], ts_recv)
            frames = frames[at + 1 :]
        if frames:
            self._deliver(frames, ts_recv)

    def on_ping(self) -> None:
        """Tell that the venue is there."""
        if self._held is None:
            self._sink.alive()

    def mute(self) -> None:
        """Deliver nothing more."""
        self._muted = True

    def take_over(self) -> None:
        """Deliver what was held, and from now on everything."""
        held, self._held = self._held or (), None
        self._sink.up(list(self._subscribed.values()))
        self.books.want_again()
        if held:
            self._deliver(list(held), self._sink.now_ns())
        self._want_snapshots()

    def _hold(self, held: deque[bytes], frames: list[bytes]) -> None:
        """Keep what a silent connection reads, but for the answers to what it asked."""
        for frame in frames:
            answer = _answer(frame) if self._asked and frame.startswith(_ANSWERS) else None
            if answer is not None:
                self._hear(answer)
                continue
            held.append(frame)
            self._held_bytes += len(frame)
        while self._held_bytes > MOST_HELD_BYTES:
            self._held_bytes -= len(held.popleft())

    def _deliver(self, frames: list[bytes], ts_recv: int) -> None:
        self._sink.frames(frames, ts_recv)
        if self.heard:
            heard, self.heard = self.heard, []
            for message in heard:
                self._hear(message)
        for instrument_id, jump in self.books.take_lost():
            self._sink.lost(Watched(instrument_id, Channel.BOOK), GapCause.BOOK_SYNC, jump)
        self._want_snapshots()

    def _hear(self, message: Answer | Shutdown) -> None:
        """Act on what is not market data; an error nobody asked for is in quarantine already."""
        if isinstance(message, Shutdown):
            self._shutdown.set()
            return
        asked = self._asked.pop(message.id, None) if isinstance(message.id, int) else None
        if asked is None or asked.answered.done():
            return
        if message.code is not msgspec.UNSET:
            said = f"binance: {asked.method} refused: {message.code} {shown(message.msg, 200)}"
            asked.answered.set_exception(Unavailable(said))
            return
        if asked.method == "SUBSCRIBE":
            self._subscribed.update(asked.streams)
        else:
            self._subscribed = {s: it for s, it in self._subscribed.items() if s not in asked.streams}
            for watched in asked.streams.values():
                self.books.forget(watched.instrument_id)
        if self._held is None:
            self._sink.up(list(self._subscribed.values()))
        asked.answered.set_result(None)

    async def _ask(self, method: str, streams: dict[str, Watched]) -> None:
        """Send one control message and wait for its answer. Raises Unavailable."""
        await self._limiter.acquire()
        if self._socket is None:
            raise Unavailable("binance: not connected")
        self._next_id += 1
        asked = _Asked(method, streams, asyncio.get_running_loop().create_future())
        self._asked[self._next_id] = asked
        message = {"method": method, "params": list(streams), "id": self._next_id}
        self._socket.send(msgspec.json.encode(message))
        try:
            async with asyncio.timeout(self._settings.answer_timeout_s):
                await asked.answered
        except TimeoutError as fault:
            raise Unavailable(f"binance: no answer to {method} of {len(streams)} streams") from fault

    def _abandon(self) -> None:
        """Tell those who wait for an answer that none will come."""
        for asked in self._asked.values():
            if not asked.answered.done():
                asked.answered.set_exception(Unavailable(f"binance: {asked.method} unanswered: connection ended"))
                asked.answered.exception()  # seen: its asker may be gone already
        self._asked.clear()
        self._socket = None

    def _streams(self, symbols: Iterable[str]) -> dict[str, Watched]:
        """Return the stream names of symbols, each with what it feeds."""
        ids = {symbol: self._names.id_of(symbol) for symbol in symbols}
        return {
            f"{symbol.lower()}@{name}": Watched(instrument_id, CHANNEL[name])
            for symbol, instrument_id in ids.items()
            for name in self._settings.channels
            if instrument_id is not None
        }

    async def _follow(self, symbols: Sequence[str]) -> None:
        """Subscribe, then look after quiet books."""
        await self.change(symbols, ())
        self.subscribed.set()
        while True:
            await asyncio.sleep(self._settings.quiet_book_s)
            if self._held is not None:
                continue
            for watched in self._subscribed.values():
                if watched.channel is Channel.BOOK and not self.books.in_sync(watched.instrument_id):
                    self.books.want(watched.instrument_id)
            self._want_snapshots()

    async def _end(self, socket: FeedSocket) -> None:
        ended = await socket.ended()
        if not ended.in_good_order:
            raise Unavailable(f"binance: connection lost: {ended.code} {ended.reason}".rstrip())

    def _want_snapshots(self) -> None:
        for instrument_id in self.books.take_wanted():
            self._wanted.put_nowait(instrument_id)

    async def _fetch_snapshots(self) -> None:
        """Fetch what the books want and deliver it like a frame, so that a raw capture has it too."""
        while True:
            instrument_id = await self._wanted.get()
            symbol = self._names.symbol_of(instrument_id)
            if symbol is None or Watched(instrument_id, Channel.BOOK) not in self._subscribed.values():
                continue
            try:
                body = await self._rest.depth(symbol, self._settings.depth_limit)
            except Unavailable as fault:
                await asyncio.sleep(fault.retry_after_s if isinstance(fault, Throttled) else RETRY_SNAPSHOT_S)
                self._wanted.put_nowait(instrument_id)
                continue
            frame = b'{"stream":"%b","data":%b}' % ((symbol.lower() + SNAPSHOT_STREAM).encode(), body)
            self._deliver([frame], self._sink.now_ns())
            # One that was too old is wanted again: let the venue get ahead of our first diff.
            await asyncio.sleep(0 if self.books.in_sync(instrument_id) else RETRY_SNAPSHOT_S)


async def _first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Run all until one ends, cancel the others, and end as that one did."""
    tasks = [asyncio.create_task(work, name=f"binance:{work.__name__}") for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _answer(frame: bytes) -> Answer | None:
    try:
        return decode_answer(frame)
    except (msgspec.MsgspecError, UnicodeError):
        return None  # held, and quarantined with its turn


def check_room(streams: int) -> None:
    """Raise Misconfigured for more streams than one connection carries."""
    if streams > MOST_STREAMS:
        raise Misconfigured(
            f"binance: {streams} streams, and one connection carries {MOST_STREAMS}",
            hint="split the symbols over two sources, or take fewer channels",
        )


def _chunks(streams: Sequence[str]) -> list[Sequence[str]]:
    return [streams[i : i + STREAMS_A_MESSAGE] for i in range(0, len(streams), STREAMS_A_MESSAGE)]
