"""What a client of the stream may take, and how it is closed when it takes more."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class StreamSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one process that streams."""

    most_clients: int = 12_000
    most_subscriptions: int = 1_000  # pairs of channel and symbol or pattern, a client
    most_messages_per_s: float = 50.0  # from a client; as many may come at once
    most_message_bytes: int = 64 * 1024
    most_errors: int = 10  # messages that could not be understood, a client
    most_replays: int = 16  # at a time: each keeps bars of its own
    buffer_bytes: int = 256 * 1024  # waiting to be written to a client; above, its policy decides
    slow_after_s: float = 10.0  # a client that reads nothing for so long is cut
    auth_within_s: float = 5.0
    idle_after_s: float = 60.0  # without a subscription
    ping_every_s: float = 20.0
    silent_after_s: float = 60.0  # without a word, a pong included
    heartbeat_s: float = 5.0
    keys_every_s: float = 1.0  # how often the keys of open streams are looked at
    rate: float = 100.0  # messages a second to a client, unless it asks for fewer
    most_rate: float = 1_000.0
    throttle: float = 0.000_01  # a quote that moved less than this share (0.001 %) of itself is not sent


class Close(IntEnum):
    """Why a stream ends. RFC 6455 section 7.4.1, and the IANA registry for 1012 and 1013."""

    DONE = 1000
    UNSUPPORTED = 1003  # a kind of message that was not agreed on
    INVALID = 1007  # text that is not UTF-8
    POLICY = 1008  # no key, a key that ended, a flood, an idle socket, too many subscriptions
    TOO_BIG = 1009
    OUR_FAULT = 1011
    RESTART = 1012  # the server stops: come back
    SLOW = 1013  # the client does not read what it asked for; `missed` says how much it lacks
