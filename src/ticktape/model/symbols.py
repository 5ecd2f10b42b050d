"""The grammar of a symbol: hostile until parsed here, and never a path.

Allowed: 1 to 40 ASCII characters, letters, digits and . / - _ : = ^ @ + # $ with at least one letter or
digit. Covers `BTCUSDT`, `/ES`, `BRK/B`, `.SPXW240119P4975`, `NQ=F`, `^VIX`, `/NQZ26:XCME`.
Refused: `..` anywhere, `//`, a backslash, a percent sign, spaces, control characters, anything outside
ASCII (a Cyrillic look-alike is another symbol, not ours).
"""

from __future__ import annotations

import re

from ticktape.errors import BadSymbol

MAX_SYMBOL = 40

_GRAMMAR = re.compile(r"(?=[^A-Za-z0-9]*[A-Za-z0-9])[A-Za-z0-9./\-_:=^@+#$]{1,40}", re.ASCII)


def shown(text: str, limit: int = 60) -> str:
    """Return text safe for one log line: control and non-ASCII characters escaped, cut at `limit`."""
    safe = text.encode("unicode_escape").decode("ascii")
    return safe if len(safe) <= limit else f"{safe[:limit]}... ({len(text)} characters)"


def parse_symbol(text: str) -> str:
    """Return the symbol unchanged. Raises BadSymbol when it breaks the grammar above."""
    if _GRAMMAR.fullmatch(text) is None or ".." in text or "//" in text:
        raise BadSymbol(
            f"not a symbol: '{shown(text)}' (1-{MAX_SYMBOL} of A-Z a-z 0-9 . / - _ : = ^ @ + # $)",
            hint="ticktape instruments",
        )
    return text


def parse_symbols(text: str, most: int) -> list[str]:
    """Return the comma-separated symbols, without repeats, in order. Raises BadSymbol."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise BadSymbol("no symbol given", hint="?symbols=BTCUSDT,ETHUSDT")
    unique = list(dict.fromkeys(parse_symbol(name) for name in names))
    if len(unique) > most:
        raise BadSymbol(f"{len(unique)} symbols in one call, at most {most}", hint="ask in several calls")
    return unique


def path_part(symbol: str) -> str:
    """Return a file-name part that no symbol can escape: every byte but A-Z a-z 0-9 as `=XX`."""
    return "".join(ch if ch.isalnum() and ch.isascii() else f"={ord(ch):02X}" for ch in parse_symbol(symbol))
