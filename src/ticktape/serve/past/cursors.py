"""Where a page ended, as opaque text that belongs to one question: given with another, or altered, it is refused."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

import msgspec
from msgspec import Struct

from ticktape.errors import BadInput

_SEAL_BYTES = 8
_MOST = 1000  # characters
_PERSON = b"ticktape cursor"


class Mark(Struct, frozen=True, array_like=True, kw_only=True):
    """Where a page ended, and what the first page settled for all of them."""

    start_ns: int
    end_ns: int
    before: int  # tape position: rows at or after it came later than the first page
    instrument_id: int = -1
    ts_event: int = 0  # of the last row; of bars, where the next one may start
    position: int = -1
    partition: str = ""
    aggregated: list[int] = []  # instruments that answer with their aggregated trades


def _seal(binding: bytes, payload: bytes) -> bytes:
    text = len(binding).to_bytes(4, "big") + binding + payload
    return blake2b(text, digest_size=_SEAL_BYTES, person=_PERSON).digest()


def binding_of(*said: object) -> bytes:
    """Return what ties a cursor to its question: everything that decides which rows there are and in what order."""
    return blake2b(msgspec.json.encode([None if part is None else str(part) for part in said]), digest_size=16).digest()


def encode(mark: Mark, binding: bytes) -> str:
    """Return a mark as text."""
    payload = msgspec.msgpack.encode(mark)
    return urlsafe_b64encode(_seal(binding, payload) + payload).decode().rstrip("=")


def decode(text: str, binding: bytes) -> Mark:
    """Return the mark in a cursor. Raises BadInput when it is not one of this question."""
    wrong = BadInput("cursor: it belongs to another question, or was altered", hint="ask again without cursor")
    if len(text) > _MOST or not text.isascii():
        raise wrong
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        mark = msgspec.msgpack.decode(data[_SEAL_BYTES:], type=Mark)
    except (ValueError, msgspec.DecodeError):
        raise wrong from None
    if data[:_SEAL_BYTES] != _seal(binding, data[_SEAL_BYTES:]):
        raise wrong
    return mark
