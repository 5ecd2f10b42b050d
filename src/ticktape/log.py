"""Logs: one line per thing that happened, on stderr, `part.past_tense key=value`. Never a secret, never a newline."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_WORDS = ("key", "secret", "token", "password", "authorization")


def _clean(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            if any(word in name.lower() for word in _SECRET_WORDS):
                event[name] = "***"
            elif not value.isprintable():
                event[name] = value.encode("unicode_escape").decode("ascii")
    return event


def configure(level: str = "info", *, as_json: bool = False) -> None:
    """Send logs to stderr. Called once, by a command."""
    last = structlog.processors.JSONRenderer() if as_json else _plain
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _clean,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # a handful of lines an hour; and tests can listen in
    )


def _plain(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    head = f"{event.pop('timestamp', '')} {event.pop('level', 'info'):<7} {event.pop('event', '')}"
    trace = event.pop("exception", "")
    pairs = " ".join(f"{k}={_shown(v)}" for k, v in event.items() if k != "logger")
    return "\n".join(part for part in (f"{head} {pairs}".rstrip(), trace) if part)


def _shown(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text else text
