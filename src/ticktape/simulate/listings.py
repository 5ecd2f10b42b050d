"""What the instruments of the seeded market stand for: the sample's own listings, with the real contracts' rules."""

from __future__ import annotations

from decimal import Decimal

from ticktape.model.instruments import AssetClass, Listing
from ticktape.simulate.sample import SAMPLES, SCALE

VENUE = "sample"

_KIND = {
    "BTCUSDT": (AssetClass.CRYPTO, "1", "24/7"),
    "ETHUSDT": (AssetClass.CRYPTO, "1", "24/7"),
    "MNQ": (AssetClass.FUTURE, "2", "CME Globex Equity"),
    "MES": (AssetClass.FUTURE, "5", "CME Globex Equity"),
    "NQ": (AssetClass.FUTURE, "20", "CME Globex Equity"),
    "SPY": (AssetClass.ETF, "1", "NYSE"),
    "QQQ": (AssetClass.ETF, "1", "NYSE"),
    "VIX": (AssetClass.INDEX, "1", "CBOE Index Options"),
}


def listings() -> list[Listing]:
    """Return one listing a sample instrument."""
    found: list[Listing] = []
    for sample in SAMPLES:
        asset_class, multiplier, calendar = _KIND[sample.symbol]
        found.append(
            Listing(
                symbol=sample.symbol,
                venue=VENUE,
                asset_class=asset_class,
                tick_size=Decimal(sample.tick) / SCALE,
                size_step=Decimal(sample.step) / SCALE,
                multiplier=Decimal(multiplier),
                currency=sample.quote,
                calendar=calendar,
            )
        )
    return found
