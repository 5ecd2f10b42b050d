"""Book synchronisation: whatever the venue does, a forward reader of the records has the venue's book."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sources_support import REAL_CAPTURE, Instruments, needs_real_capture

from ticktape.model.book import Book
from ticktape.model.records import Flag, Kind, Records, Side
from ticktape.sources.binance import book as book_module
from ticktape.sources.binance.book import BookSync
from ticktape.sources.binance.names import Names
from ticktape.sources.binance.normalise import MILLISECOND_NS, normalise

Levels = dict[tuple[str, int], int]  # ("b" or "a", price) -> size


class Venue:
    """A venue's book: numbered updates, diffs that carry them, snapshots of any past moment."""

    def __init__(self) -> None:
        self.states: list[Levels] = [{}]
        self.sent = 0  # last update id a diff carried

    @property
    def last_id(self) -> int:
        return len(self.states) - 1

    def update(self, side: str, price: int, size: int) -> None:
        levels = dict(self.states[-1])
        levels.pop((side, price), None)
        if size:
            levels[side, price] = size
        self.states.append(levels)

    def diff(self) -> bytes | None:
        """The changes since the last diff, or None without any: the venue sends no diff without a level."""
        first, last = self.sent + 1, self.last_id
        keys = {key for i in range(first, last + 1) for key in self.states[i].keys() ^ self.states[i - 1].keys()}
        keys |= {k for i in range(first, last + 1) for k, v in self.states[i].items() if self.states[i - 1].get(k) != v}
        if not keys:
            return None
        self.sent = last
        sides = {
            side: [[f"{p}.0", f"{self.states[last].get((s, p), 0)}.0"] for s, p in sorted(keys) if s == side]
            for side in "ba"
        }
        event = {
            "e": "depthUpdate",
            "E": 1735689600000 + first,
            "s": "BTCUSDT",
            "U": first,
            "u": last,
            **sides,
        }
        return json.dumps(event, separators=(",", ":")).encode()

    def snapshot(self, at: int) -> bytes:
        sides = {
            name: [[f"{p}.0", f"{v}.0"] for (s, p), v in sorted(self.states[at].items(), reverse=s == "b") if s == side]
            for name, side, s in (("bids", "b", "b"), ("asks", "a", "a"))
        }
        body = json.dumps({"lastUpdateId": at, **sides}, separators=(",", ":")).encode()
        return b'{"stream":"btcusdt@depthSnapshot","data":%b}' % body


class Recorder:
    """The sync and the tape it writes."""

    def __init__(self) -> None:
        self.names = Names(Instruments("BTCUSDT"))
        self.sync = BookSync()
        self.tape: list[Records] = []
        self.lost: list[tuple[int, str]] = []

    def take(self, *frames: bytes) -> None:
        self.tape.append(self.sync.follow(normalise(frames, 10**18, self.names, MILLISECOND_NS)))
        self.lost += self.sync.take_lost()

    def book(self) -> Book:
        book = Book(1)
        for records in self.tape:
            book.apply(records)
        return book


def theirs(venue: Venue, update_id: int) -> tuple[dict[int, int], dict[int, int]]:
    """The venue's levels at an update id, at scale 8."""
    scale = 10**8
    return tuple(  # pyright: ignore[reportReturnType]  # two of them
        {p * scale: v * scale for (s, p), v in venue.states[update_id].items() if s == side} for side in "ba"
    )


steps = st.lists(
    st.one_of(
        st.tuples(st.just("update"), st.sampled_from("ba"), st.integers(1, 6), st.integers(0, 3)),
        st.just(("diff",)),
        st.just(("repeat",)),
        st.just(("lose",)),
        st.tuples(st.just("snapshot"), st.integers(0, 12)),
    ),
    max_size=60,
)


@settings(deadline=None)  # the first example loads the kernel
@given(steps, st.booleans())
def test_whenever_the_reader_says_synced_its_book_is_the_venues(
    script: list[tuple[object, ...]], in_one_read: bool
) -> None:
    venue, recorder = Venue(), Recorder()
    frames: list[bytes] = []
    last_diff = None
    for step in script:
        match step:
            case ("update", str(side), int(price), int(size)):
                venue.update(side, price, size)
            case ("diff",):
                last_diff = venue.diff() or last_diff
                frames += [last_diff] if last_diff else []
            case ("repeat",) if last_diff:
                frames.append(last_diff)
            case ("lose",):
                venue.diff()
            case ("snapshot", int(age)):
                frames.append(venue.snapshot(max(venue.last_id - age, 0)))
            case _:
                pass
        if frames and not in_one_read:
            recorder.take(*frames)
            frames = []
            book = recorder.book()
            assert book.synced == recorder.sync.in_sync(1)
            if book.synced:
                assert (book.bids, book.asks) == theirs(venue, book.update_id)
    recorder.take(*frames)
    book = recorder.book()
    assert book.synced == recorder.sync.in_sync(1)
    if book.synced:
        assert (book.bids, book.asks) == theirs(venue, book.update_id)


def started(updates: int = 3) -> tuple[Venue, Recorder]:
    venue, recorder = Venue(), Recorder()
    for i in range(updates):
        venue.update("b", i + 1, 1)
    return venue, recorder


def diff(venue: Venue, price: int) -> bytes:
    """One more update, and the diff that carries it."""
    venue.update("a", price, 1)
    frame = venue.diff()
    assert frame is not None
    return frame


def test_a_snapshot_is_asked_for_at_the_first_diff_and_only_once() -> None:
    venue, recorder = started()
    recorder.take(diff(venue, 10))
    assert recorder.sync.take_wanted() == [1]
    recorder.take(diff(venue, 11))
    assert recorder.sync.take_wanted() == []


def test_every_diff_is_recorded_at_once_and_the_snapshot_is_rolled_forward_over_them() -> None:
    venue, recorder = started()
    venue.diff()
    recorder.take(diff(venue, 10))
    at = venue.last_id
    recorder.take(diff(venue, 11), diff(venue, 12))
    assert sum(map(len, recorder.tape)) == 3
    recorder.take(venue.snapshot(at))

    snapshot = recorder.tape[-1]
    assert set(snapshot["c"].tolist()) == {venue.last_id}
    assert snapshot["flags"][0] & (Flag.FIRST | Flag.SNAPSHOT) == Flag.FIRST | Flag.SNAPSHOT
    assert snapshot["flags"][-1] & Flag.LAST
    assert (snapshot["flags"] & Flag.NO_VENUE_TIME > 0).all()
    assert snapshot["side"].tolist() == [Side.BUY] * 3 + [Side.SELL] * 3
    assert snapshot["a"].tolist() == [price * 10**8 for price in (3, 2, 1, 10, 11, 12)]


def test_the_snapshot_stands_exactly_where_it_came_in_a_read() -> None:
    venue, recorder = started()
    venue.diff()
    frames = [diff(venue, 10), venue.snapshot(4), diff(venue, 11)]
    recorder.take(*frames)
    flags = recorder.tape[0]["flags"]
    assert np.flatnonzero(flags & Flag.SNAPSHOT > 0).tolist() == [1, 2, 3, 4]
    assert recorder.book().update_id == 5


def test_a_snapshot_older_than_the_first_diff_is_refused_and_asked_for_again() -> None:
    venue, recorder = started()
    venue.diff()
    recorder.take(diff(venue, 10))
    recorder.sync.take_wanted()
    recorder.take(venue.snapshot(2))
    assert len(recorder.tape[-1]) == 0
    assert recorder.sync.take_wanted() == [1]


def test_a_jump_is_marked_on_the_diff_itself_told_once_and_a_snapshot_asked_for() -> None:
    venue, recorder = started()
    recorder.take(diff(venue, 10), venue.snapshot(venue.last_id))
    recorder.sync.take_wanted()
    diff(venue, 11)
    recorder.take(diff(venue, 12), diff(venue, 13))

    assert recorder.lost == [(1, "update ids go from 4 to 6")]
    assert [bool(flags & Flag.AFTER_GAP) for flags in recorder.tape[-1]["flags"].tolist()] == [True, False]
    assert not recorder.book().synced
    assert recorder.sync.take_wanted() == [1]


def test_a_jump_on_a_diff_without_levels_is_marked_on_the_next_one() -> None:
    venue, recorder = started()
    recorder.take(diff(venue, 10), venue.snapshot(venue.last_id))
    nothing = b'{"e":"depthUpdate","E":1735689600125,"s":"BTCUSDT","U":9,"u":9,"b":[],"a":[]}'
    recorder.take(nothing, nothing.replace(b'9,"b":[]', b'10,"b":[["1.0","1.0"]]').replace(b'"U":9', b'"U":10'))
    assert len(recorder.lost) == 1
    assert recorder.tape[-1]["flags"].tolist() == [Flag.FIRST | Flag.LAST | Flag.AFTER_GAP]


def test_a_repeated_diff_is_recorded_and_changes_nothing() -> None:
    venue, recorder = started()
    first = diff(venue, 10)
    recorder.take(first, venue.snapshot(4))
    venue.update("a", 10, 0)
    removal = venue.diff()
    assert removal is not None
    recorder.take(removal, first)
    assert recorder.lost == []
    assert recorder.book().asks == {}


def test_ids_that_start_anew_are_a_break_and_not_repeats_for_ever() -> None:
    venue, recorder = started(50)
    recorder.take(diff(venue, 10), venue.snapshot(venue.last_id))
    recorder.sync.take_wanted()
    event = json.loads(diff(venue, 11))
    event |= {"E": event["E"] + 1000, "U": 1, "u": 3}
    recorder.take(json.dumps(event, separators=(",", ":")).encode())
    assert recorder.lost == [(1, "update ids go from 51 to 1")]
    assert recorder.sync.take_wanted() == [1]
    assert not recorder.book().synced
    recorder.take(venue.snapshot(3))
    assert (recorder.book().synced, recorder.book().update_id) == (True, 3)


def test_a_snapshot_ahead_of_the_diffs_covers_the_ones_that_follow() -> None:
    venue, recorder = started()
    recorder.take(diff(venue, 10))
    venue.update("a", 11, 1)
    snapshot = venue.snapshot(venue.last_id)  # taken before the diff that carries this update is sent
    recorder.take(snapshot)
    covered = venue.diff()
    assert covered is not None
    recorder.take(covered, diff(venue, 12))
    assert recorder.lost == []
    assert (recorder.book().synced, recorder.book().update_id) == (True, venue.last_id)


def test_an_empty_book_is_said_too() -> None:
    venue, recorder = Venue(), Recorder()
    recorder.sync.want(1)
    recorder.take(venue.snapshot(0))
    (row,) = recorder.tape[-1]
    assert row["flags"] == Flag.SNAPSHOT | Flag.FIRST | Flag.LAST | Flag.NO_VENUE_TIME
    assert (recorder.book().bids, recorder.book().synced) == ({}, True)


def test_what_is_held_for_a_snapshot_that_never_comes_is_bounded() -> None:
    venue, recorder = started()
    limit = book_module.MOST_HELD_ROWS
    frame = diff(venue, 10)
    event = json.loads(frame)
    event["b"] = [[f"{i}.0", "1.0"] for i in range(1000)]
    for i in range(50):
        event["U"] = event["u"] = i + 1
        recorder.take(json.dumps(event, separators=(",", ":")).encode())
    state = recorder.sync._states[1]  # pyright: ignore[reportPrivateUsage]
    assert state.held_rows == sum(len(rows) for _, rows in state.held) <= limit


def captured() -> Iterator[tuple[int, bytes]]:
    with gzip.open(REAL_CAPTURE) as file:
        for line in file:
            stamp, _, frame = line.rstrip(b"\n").partition(b" ")
            yield int(stamp), frame


@needs_real_capture
def test_the_book_of_the_real_capture_is_that_of_a_plain_reading() -> None:
    recorder = Recorder()
    plain: dict[str, dict[str, str]] = {"b": {}, "a": {}}
    snapshot_id, held = 0, list[dict[str, list[list[str]]]]()
    for _, frame in captured():
        message = json.loads(frame)
        event = message.get("data", message)
        if "lastUpdateId" in event:
            snapshot_id = event["lastUpdateId"]
            plain = {"b": dict(event["bids"]), "a": dict(event["asks"])}
            held = [one for one in held if one["u"] > snapshot_id]  # pyright: ignore[reportOperatorIssue]
        elif event.get("e") == "depthUpdate":
            held.append(event)
        else:
            continue
        recorder.take(frame)
        if snapshot_id:
            for one in held:
                for side in "ba":
                    plain[side].update(one[side])  # pyright: ignore[reportArgumentType, reportCallIssue]
            held.clear()

    book = recorder.book()
    assert book.synced
    assert recorder.lost == []
    for ours, side in ((book.bids, "b"), (book.asks, "a")):
        kept = {round(float(p) * 1e8): round(float(q) * 1e8) for p, q in plain[side].items() if float(q)}
        assert ours == kept
    best_bid, best_ask = book.best()
    assert best_bid is not None
    assert best_ask is not None
    assert best_bid < best_ask
    assert all((records["kind"] == Kind.BOOK).all() for records in recorder.tape)
