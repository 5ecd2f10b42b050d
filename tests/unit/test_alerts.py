"""The book of alerts: raised once, cleared once, never more than it may hold, the same for every process."""

from __future__ import annotations

from pathlib import Path

import pytest

from ticktape.alerts import AlertBook, Severity
from ticktape.clock import ManualClock
from ticktape.errors import Unavailable

T0 = 1_763_640_000_000_000_000


def test_an_alert_is_raised_once_and_stands_until_it_is_cleared(tmp_path: Path) -> None:
    clock = ManualClock(T0)
    book = AlertBook(tmp_path, clock)
    first = book.start("gap", "binance", "2 gaps are open", Severity.CRITICAL, {"open": 2})
    assert first is not None
    assert book.start("gap", "binance", "3 gaps are open") is None
    assert book.start("gap", "other", "1 gap is open") is not None
    assert [(each.subject, each.detail) for each in book.standing()] == [("binance", {"open": 2}), ("other", {})]

    clock.advance(5)
    over = book.clear("gap", "binance")
    assert over is not None
    assert (over.id, over.raised, over.cleared) == (first.id, T0, T0 + 5)
    assert book.clear("gap", "binance") is None
    assert book.start("gap", "binance", "again") is not None
    assert [each.message for each in book.recent()] == ["again", "1 gap is open", "2 gaps are open"]


def test_every_change_is_followed_once_by_another_process(tmp_path: Path) -> None:
    writer, reader = AlertBook(tmp_path), AlertBook(tmp_path)
    seen, at = list[tuple[str, bool]](), reader.last_change()
    for turn in range(3):
        writer.start("lag", f"s{turn}", "late")
        if turn:
            writer.clear("lag", f"s{turn - 1}")
        news = reader.changes(at)
        at = news[-1].change
        seen += [(each.subject, each.cleared is None) for each in news]
    assert seen == [("s0", True), ("s1", True), ("s0", False), ("s2", True), ("s1", False)]
    assert reader.changes(at) == []


def test_two_processes_raise_one_alert(tmp_path: Path) -> None:
    one, two = AlertBook(tmp_path), AlertBook(tmp_path)
    made = [book.start("disk", "data", "little room") for book in (one, two)]
    assert [each is None for each in made] == [False, True]
    assert len(two.standing()) == 1


def test_the_book_keeps_the_last_and_all_that_stands(tmp_path: Path) -> None:
    book = AlertBook(tmp_path, most=10)
    book.start("disk", "data", "stands all the time")
    for turn in range(50):
        book.start("spike", str(turn), "a price far off")
        book.clear("spike", str(turn))
    kept = book.recent(1000)
    assert [each.subject for each in kept] == [*(str(turn) for turn in range(49, 39, -1)), "data"]
    assert [each.subject for each in book.standing()] == ["data"]


def test_telling_raises_with_a_message_and_clears_without(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    assert book.tell("spot", "BTCUSDT", None) is None
    raised = book.tell("spot", "BTCUSDT", "a row differs", detail={"lake": 1, "tape": 2})
    assert raised is not None
    assert raised.cleared is None
    over = book.tell("spot", "BTCUSDT", None)
    assert over is not None
    assert over.cleared is not None


def test_what_a_venue_says_comes_back_as_it_was(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    nasty = "'); drop table alerts; -- \r\n<script>"
    book.start("feed_down", nasty, nasty, detail={"said": nasty})
    (kept,) = book.standing()
    assert (kept.subject, kept.message, kept.detail) == (nasty, nasty, {"said": nasty})


def test_r07_on_a_full_disk_nothing_changes_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    book.start("disk", "data", "little room")
    (pages,) = book._db.execute("pragma page_count").fetchone()  # pyright: ignore[reportPrivateUsage]
    book._db.execute(f"pragma max_page_count = {pages}")  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Unavailable, match="full"):
        book.start("gap", "binance", "x" * 100_000)
    assert [each.kind for each in book.standing()] == ["disk"]
    with pytest.raises(Unavailable, match="full"):  # and the book is not left in the middle of something
        book.start("gap", "binance", "x" * 100_000)
    book._db.execute("pragma max_page_count = 100000")  # pyright: ignore[reportPrivateUsage]
    assert book.start("gap", "binance", "1 gap is open") is not None
