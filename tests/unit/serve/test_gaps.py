"""The ledger of gaps: what each record of a gap's life changes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from serve_support import SECOND, T0

from ticktape.model.gaps import FOREVER_NS
from ticktape.model.records import Channel, GapCause, GapState, Kind, Records, empty, pack_gap
from ticktape.serve.readers.gaps import GapLedger


def record(
    gap_id: int, state: GapState, start: int, duration: int = 0, *, instrument: int = 1, ids: tuple[int, int] = (0, -1),
    channel: Channel = Channel.TRADE, source: int = 1,
) -> Records:  # fmt: skip
    row = empty(1)
    row["kind"], row["a"], row["b"], row["c"] = Kind.GAP, gap_id, *ids
    row["d"], row["side"] = pack_gap(GapCause.DISCONNECTED, channel, duration), state
    row["ts_event"], row["ts_recv"], row["instrument"], row["source"] = start, start + 1, instrument, source
    return row[0]


def test_a_gap_lives_from_opened_to_filled() -> None:
    ledger = GapLedger()
    ledger.absorb(record(7, GapState.OPENED, T0), 7)
    (gap,) = ledger.within(1, T0, T0, [Channel.TRADE])
    assert (gap.state, gap.end_ns, ledger.open_count()) == (GapState.OPENED, FOREVER_NS, 1)
    ledger.absorb(record(7, GapState.CLOSED, T0, 3 * SECOND, ids=(5, 9)), 12)
    assert (gap.state, gap.end_ns, ledger.open_count()) == (GapState.CLOSED, T0 + 3 * SECOND, 0)
    assert (gap.first_missing, gap.last_missing) == (5, 9)
    ledger.absorb(record(7, GapState.FILLED, T0, 3 * SECOND), 20)
    ledger.absorb(record(7, GapState.CLOSED, T0, 3 * SECOND), 21)  # said again: changes nothing
    assert (gap.state, gap.position) == (GapState.FILLED, 20)
    assert ledger.within(1, T0 + 3 * SECOND, FOREVER_NS, [Channel.TRADE]) == [gap]
    assert ledger.within(1, T0 + 3 * SECOND + 1, FOREVER_NS, [Channel.TRADE]) == []


def test_a_gap_of_another_channel_or_source_is_not_ours() -> None:
    ledger = GapLedger()
    ledger.absorb(record(1, GapState.CLOSED, T0, SECOND, channel=Channel.BOOK), 1)
    ledger.absorb(record(2, GapState.CLOSED, T0, SECOND, instrument=0, source=2, channel=Channel.ALL), 2)
    ledger.absorb(record(3, GapState.CLOSED, T0, SECOND, instrument=0, source=0, channel=Channel.ALL), 3)
    assert [g.gap_id for g in ledger.within(1, T0, T0, [Channel.TRADE], [1])] == [3]
    assert [g.gap_id for g in ledger.within(1, T0, T0, [Channel.BOOK], [2])] == [1, 2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.booleans()), max_size=40),
    st.integers(0, 60),
    st.integers(0, 30),
)
def test_within_finds_exactly_what_overlaps(windows: list[tuple[int, int, bool]], start: int, length: int) -> None:
    ledger = GapLedger()
    expected: list[int] = []
    for number, (at, duration, still_open) in enumerate(windows):
        state = GapState.OPENED if still_open else GapState.CLOSED
        ledger.absorb(record(number, state, at * 1000, duration * 1000), number)
        if at <= start + length and (still_open or at + duration >= start):
            expected.append(number)
    found = ledger.within(1, start * 1000, (start + length) * 1000, [Channel.TRADE])
    assert sorted(gap.gap_id for gap in found) == expected


def test_it_is_bounded_and_forgets_ended_gaps_first() -> None:
    ledger = GapLedger(most=10)
    ledger.absorb(record(0, GapState.OPENED, T0), 0)
    for number in range(1, 100):
        ledger.absorb(record(number, GapState.CLOSED, T0 + number * SECOND, 1000), number)
    assert (len(ledger), ledger.forgotten) == (10, 90)
    assert [gap.gap_id for gap in ledger.latest(100)] == [0, *range(91, 100)]
    assert [gap.gap_id for gap in ledger.within(1, 0, FOREVER_NS, [Channel.TRADE])] == [0, *range(91, 100)]
