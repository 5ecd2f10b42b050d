"""The directory: an id means one thing for ever, a vendor's name means what it meant at the time."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.structs import replace

from ticktape.errors import BadSymbol, UnknownSymbol
from ticktape.model.instruments import FOREVER_NS, AssetClass, Listing
from ticktape.sources.archive.source import ArchiveSettings, ArchiveSource
from ticktape.sources.contract import Batch, Watched
from ticktape.tape.directory import TapeDirectory

DAY_NS = 86_400 * 10**9
ROLL_NS = 20_000 * DAY_NS  # midnight, 2024-10-04


def contract(symbol: str, expiry: str = "") -> Listing:
    step = Decimal("0.25")
    return Listing(
        symbol=symbol, venue="cme", asset_class=AssetClass.FUTURE, tick_size=step, size_step=Decimal(1), expiry=expiry
    )


@pytest.fixture
def rolled(tmp_path: Path) -> TapeDirectory:
    """A vendor's `MNQ` was the September contract and has been the December one since ROLL_NS."""
    directory = TapeDirectory(tmp_path / "tape")
    directory.enrol("vendor", "MNQ", contract("MNQU4", "2024-09-20"))
    december = directory.enrol("vendor", "MNQZ4", contract("MNQZ4", "2024-12-20"))
    directory.rename("vendor", "MNQ", december.id, ROLL_NS)
    return directory


def test_r34_a_name_that_rolled_means_each_contract_in_its_time(rolled: TapeDirectory, tmp_path: Path) -> None:
    reopened = TapeDirectory(tmp_path / "tape")
    for directory in (rolled, reopened):
        now = directory.find("vendor", "MNQ")
        before = directory.find_at("vendor", "MNQ", ROLL_NS - 1)
        after = directory.find_at("vendor", "MNQ", ROLL_NS)
        assert now is not None
        assert before is not None
        assert (now.symbol, before.symbol) == ("MNQZ4", "MNQU4")
        assert after == now
        spans = [(each.valid_from_ns, each.valid_to_ns) for each in directory.names(before.id)]
        assert spans == [(0, ROLL_NS)]
        assert (ROLL_NS, FOREVER_NS) in [(each.valid_from_ns, each.valid_to_ns) for each in directory.names(now.id)]


def test_r34_old_data_stays_reachable_by_its_own_symbol(rolled: TapeDirectory) -> None:
    assert rolled.by_symbol("MNQU4").id == 1
    assert rolled.by_symbol("MNQZ4").id == 2
    with pytest.raises(UnknownSymbol, match="did you mean MNQU4, MNQZ4"):
        rolled.by_symbol("MNQ")  # a vendor's word for something else each quarter is no symbol of ours


def test_r34_a_ticker_used_again_after_a_delisting_is_another_instrument(tmp_path: Path) -> None:
    directory = TapeDirectory(tmp_path / "tape")
    old = directory.enrol("vendor", "FB", contract("FB"))
    new = directory.enrol("vendor", "META", contract("META"))
    directory.rename("vendor", "FB", new.id, ROLL_NS)
    directory.rename("vendor", "FB", old.id, 2 * ROLL_NS)
    found = [directory.find_at("vendor", "FB", at) for at in (0, ROLL_NS, 2 * ROLL_NS)]
    assert [each.symbol for each in found if each] == ["FB", "META", "FB"]


class _Sink:
    def __init__(self) -> None:
        self.instruments: list[int] = []

    def up(self, watched: list[Watched]) -> None:
        del watched

    def batch(self, batch: Batch) -> None:
        self.instruments += batch.records["instrument"].tolist()

    def now_ns(self) -> int:
        return 3 * ROLL_NS


@pytest.mark.asyncio
async def test_r34_an_archive_of_a_day_before_the_change_goes_to_what_the_name_meant_then(tmp_path: Path) -> None:
    directory = TapeDirectory(tmp_path / "tape")
    old = directory.enrol("binance", "ABCUSDT", contract("ABCUSDT"))
    new = directory.enrol("binance", "XYZUSDT", contract("XYZUSDT"))
    directory.rename("binance", "ABCUSDT", new.id, ROLL_NS)
    row = "1,61837.63,0.02,1,4,1723161255342,True,True\n"
    paths = [tmp_path / f"ABCUSDT-aggTrades-{day}.csv" for day in ("2024-10-03", "2024-10-04", "2024-09", "2024-11")]
    for path in paths:
        path.write_text(row)
    sink = _Sink()
    await ArchiveSource(ArchiveSettings(paths=tuple(map(str, paths))), directory).connect(sink)  # pyright: ignore[reportArgumentType]
    assert sink.instruments == [old.id, new.id, old.id, new.id]


def test_a_name_is_never_guessed_and_what_cannot_be_one_is_refused(tmp_path: Path) -> None:
    directory = TapeDirectory(tmp_path / "tape")
    directory.enrol("vendor", "MNQ", contract("MNQU4"))
    assert directory.find("vendor", "mnq") is None
    assert directory.find("other", "MNQ") is None
    assert directory.find_at("vendor", "MNQ", 0) is not None
    for name in ("", "x" * 101, "a\nb"):
        with pytest.raises(BadSymbol):
            directory.enrol("vendor", name, contract("MNQZ4"))
    for symbol in ("../x", "a/../b", "x\0", "x" * 300):
        with pytest.raises(BadSymbol):
            directory.enrol("vendor", "good", contract(symbol))


def test_scales_never_change_because_stored_integers_mean_them(tmp_path: Path) -> None:
    directory = TapeDirectory(tmp_path / "tape")
    first = directory.enrol("vendor", "MNQ", contract("MNQU4"))
    finer = replace(contract("MNQU4"), price_scale=3)
    assert directory.enrol("vendor", "MNQ", finer).price_scale == first.price_scale
    directory.close()


def test_what_another_process_enrols_is_seen(tmp_path: Path) -> None:
    writer, reader = TapeDirectory(tmp_path / "tape"), TapeDirectory(tmp_path / "tape")
    made = writer.enrol("vendor", "MNQ", contract("MNQU4"))
    assert reader.by_symbol("MNQU4") == made
    assert reader.by_id(made.id) == made
    with pytest.raises(UnknownSymbol, match="no instrument with id 99"):
        reader.by_id(99)


def test_a_venue_that_changes_its_tick_size_changes_no_name(tmp_path: Path) -> None:
    directory = TapeDirectory(tmp_path / "tape")
    made = directory.enrol("vendor", "MNQ", contract("MNQU4"))
    again = directory.enrol("vendor", "MNQ", replace(contract("MNQU4"), tick_size=Decimal("0.5")))
    assert (again.id, again.tick_size) == (made.id, Decimal("0.5"))
    assert [(n.valid_from_ns, n.valid_to_ns) for n in directory.names(made.id)] == [(0, FOREVER_NS)]


def test_r34_a_name_a_vendor_gives_to_another_instrument_is_taken_over_from_now(tmp_path: Path) -> None:
    directory = TapeDirectory(tmp_path / "tape")
    directory.enrol("vendor", "FB", contract("FB"))
    new = directory.enrol("vendor", "FB", contract("META"))
    assert directory.find("vendor", "FB") == new
    before = directory.find_at("vendor", "FB", ROLL_NS)
    assert before is not None
    assert before.symbol == "FB"
