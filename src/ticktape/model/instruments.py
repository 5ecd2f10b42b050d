"""What is traded: one row an instrument, and the names each vendor gives it over time.

Prices and sizes are integers at the instrument's own scale: value = integer / 10**scale.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

FOREVER_NS = 2**63 - 1


class AssetClass(StrEnum):
    """What kind of thing it is."""

    CRYPTO = "crypto"
    FUTURE = "future"
    EQUITY = "equity"
    ETF = "etf"
    INDEX = "index"
    OPTION = "option"
    FX = "fx"


class Listing(Struct, frozen=True, kw_only=True):
    """What a source knows of an instrument before it has an id: the input of an enrolment."""

    symbol: str  # canonical
    venue: str
    asset_class: AssetClass
    tick_size: Decimal
    size_step: Decimal
    multiplier: Decimal = Decimal(1)
    price_scale: int = 8  # decimals kept of a price
    size_scale: int = 8  # decimals kept of a size
    currency: str = "USD"
    calendar: str = "24/7"  # model/sessions.py
    expiry: str = ""  # ISO date, empty when it does not expire


class Instrument(Listing, frozen=True, kw_only=True):
    """An enrolled instrument. `id` is what records carry; it is never reused."""

    id: int


class VendorName(Struct, frozen=True, kw_only=True):
    """A vendor's name of an instrument, valid in [valid_from_ns, valid_to_ns)."""

    vendor: str
    name: str
    instrument_id: int
    valid_from_ns: int = 0
    valid_to_ns: int = FOREVER_NS
