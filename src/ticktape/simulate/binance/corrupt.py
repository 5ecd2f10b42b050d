"""A good payload -> a broken one, each in a way somebody's feed really broke (FAULTS.md, garbage frames)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

from ticktape.simulate.binance.orders import Corruption

HUGE = 10 * 1024 * 1024
PRICE_KEYS = ("p", "b", "c")
SIZE_KEYS = ("q", "B", "v")

Fields = dict[str, Any]


def corrupted(data: bytes, how: Corruption) -> bytes:
    """The payload broken as asked; price means the first price of whatever the payload is."""
    if how == "truncated":
        return data[: max(1, len(data) * 2 // 3)]
    if how == "invalid_utf8":
        return re.sub(rb'":"', b'":"\xff\xfe', data, count=1)
    fields = cast("Fields", json.loads(data))
    change = CHANGES[how]
    if "k" in fields:
        change(cast("Fields", fields["k"]))
    else:
        change(fields)
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _set_first(fields: Fields, keys: tuple[str, ...], column: int, value: object) -> None:
    """Set the first of `keys`; a book payload has its first level's price (0) or size (1) set."""
    for name in ("b", "a", "bids", "asks"):
        side = fields.get(name)
        if isinstance(side, list) and side:
            cast("list[list[object]]", side)[0][column] = value
            return
    for key in keys:
        if key in fields:
            fields[key] = value
            return


def _price(value: object) -> Callable[[Fields], None]:
    return lambda fields: _set_first(fields, PRICE_KEYS, 0, value)


def _negate(fields: Fields) -> None:
    for key in PRICE_KEYS:
        if isinstance(fields.get(key), str):
            fields[key] = "-" + str(fields[key])
            return
    _set_first(fields, (), 0, "-1.00000000")


def _wrong_types(fields: Fields) -> None:
    for key, value in list(fields.items()):
        fields[key] = {"was": value} if isinstance(value, str) else str(value)


def _unknown_symbol(fields: Fields) -> None:
    if "s" in fields:
        fields["s"] = "NOSUCHUSDT"


CHANGES: dict[Corruption, Callable[[Fields], None]] = {
    "nan": _price(float("nan")),
    "infinity": _price(float("inf")),
    "zero_price": _price("0.00000000"),
    "negative_price": _negate,
    "huge_string": _price("9" * HUGE),
    "wrong_types": _wrong_types,
    "unknown_symbol": _unknown_symbol,
    "size_2_63": lambda fields: _set_first(fields, SIZE_KEYS, 1, f"{2**63}.00000000"),
}
