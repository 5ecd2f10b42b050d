"""Binance spot's public protocol on loopback: streams, REST, limits, and faults to order."""

from ticktape.simulate.binance.orders import (
    Burst,
    Corrupt,
    Disconnect,
    Drop,
    Duplicate,
    Hole,
    Mute,
    Omit,
    Order,
    Refuse,
    Reorder,
    Reset,
    Shutdown,
    Skew,
    StaleDepth,
)
from ticktape.simulate.binance.settings import VenueSettings
from ticktape.simulate.binance.venue import BinanceVenue

__all__ = [
    "BinanceVenue",
    "Burst",
    "Corrupt",
    "Disconnect",
    "Drop",
    "Duplicate",
    "Hole",
    "Mute",
    "Omit",
    "Order",
    "Refuse",
    "Reorder",
    "Reset",
    "Shutdown",
    "Skew",
    "StaleDepth",
    "VenueSettings",
]
