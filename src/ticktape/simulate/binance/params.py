"""Query parameters and the venue's complaints about them. binance-spot-api-docs, errors.md, 11xx."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import msgspec

from ticktape.simulate.binance.weights import RestError

SYMBOL = re.compile(r"[A-Z0-9\-_.]{1,20}\Z")
NUMBER = re.compile(r"[0-9]{1,20}\Z")


class Params:
    """One request's query, checked on the way out."""

    def __init__(self, query: Mapping[str, str], allowed: Collection[str], micro: bool) -> None:
        unknown = [name for name in query if name not in allowed]
        if unknown:
            expected, received = len(allowed), len(query)
            if received <= expected:
                raise RestError(400, -1104, "Not all sent parameters were read; read '0' parameter(s).")
            text = f"Too many parameters; expected '{expected}' and received '{received}'."
            raise RestError(400, -1101, text)
        self._query = query
        self.micro = micro

    def text(self, name: str) -> str:
        """A mandatory parameter."""
        value = self._query.get(name, "")
        if not value:
            text = f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."
            raise RestError(400, -1102, text)
        return value

    def given(self, name: str) -> bool:
        """Whether it was sent."""
        return name in self._query

    def symbol(self, known: Collection[str]) -> str:
        """The symbol, one the venue lists."""
        value = self.text("symbol")
        _legal("symbol", value, SYMBOL, "^[A-Z0-9-_.]{1,20}$")
        if value not in known:
            raise RestError(400, -1121, "Invalid symbol.")
        return value

    def symbols(self, known: Collection[str]) -> list[str] | None:
        """`symbol` or the JSON list `symbols`; None when neither was sent."""
        if self.given("symbol"):
            return [self.symbol(known)]
        if not self.given("symbols"):
            return None
        try:
            listed = msgspec.json.decode(self.text("symbols"), type=list[str])
        except msgspec.DecodeError:
            legal = r'^\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\]$'
            text = f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'."
            raise RestError(400, -1100, text) from None
        if any(symbol not in known for symbol in listed):
            raise RestError(400, -1121, "Invalid symbol.")
        return listed

    def integer(self, name: str) -> int | None:
        """An optional whole number."""
        value = self._query.get(name)
        if value is None:
            return None
        _legal(name, value, NUMBER, "^[0-9]{1,20}$")
        return int(value)

    def limit(self, default: int, most: int) -> int:
        """How many rows; more than allowed means as many as allowed."""
        value = self.integer("limit")
        if value == 0:
            raise RestError(400, -1130, "Data sent for parameter 'limit' is not valid.")
        return min(default if value is None else value, most)

    def time_us(self, name: str) -> int | None:
        """A time, milliseconds or microseconds by its size, as the venue accepts both."""
        value = self.integer(name)
        if value is None:
            return None
        return value if value >= 10**14 else value * 1000


def _legal(name: str, value: str, pattern: re.Pattern[str], shown: str) -> None:
    if not pattern.match(value):
        text = f"Illegal characters found in parameter '{name}'; legal range is '{shown}'."
        raise RestError(400, -1100, text)
