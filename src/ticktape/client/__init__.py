"""The Python client: everything the API answers, live and past, as the same types. Speaks only the public API."""

from ticktape.client.api import Client
from ticktape.client.errors import ApiError, Away, Denied, Refused
from ticktape.client.records import (
    AggregatedTrade,
    Bar,
    BookLevel,
    Cancel,
    Correction,
    Event,
    Gap,
    Lost,
    Missed,
    Other,
    Quote,
    Status,
    Trade,
)
from ticktape.client.table import Table

__all__ = [
    "AggregatedTrade",
    "ApiError",
    "Away",
    "Bar",
    "BookLevel",
    "Cancel",
    "Client",
    "Correction",
    "Denied",
    "Event",
    "Gap",
    "Lost",
    "Missed",
    "Other",
    "Quote",
    "Refused",
    "Status",
    "Table",
    "Trade",
]
