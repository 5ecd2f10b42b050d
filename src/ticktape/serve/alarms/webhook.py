"""Tells a URL of the owner's about alerts, signed as Standard Webhooks has it (standardwebhooks.com, v1).

Bounded: beyond `MOST_WAITING` the oldest goes first, and the next message says how many did. What is not taken within
`TRIES` tries is given up and logged; the book has it all the same.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections import deque
from typing import Any

import httpx2
import msgspec
import structlog

from ticktape.alerts import Alert
from ticktape.clock import Clock
from ticktape.errors import Misconfigured

log = structlog.get_logger("serve")

MOST_WAITING = 100
TRIES = 5
FIRST_PAUSE_S = 1.0
ANSWER_S = 10.0
_PREFIX = "whsec_"


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where alerts are told. `secret` is `whsec_` and base64, as receivers of Standard Webhooks expect it."""

    url: str
    secret: str = ""


def secret_bytes(secret: str) -> bytes:
    """Return the bytes to sign with. Raises Misconfigured, without the secret in it."""
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not secret.startswith(_PREFIX) or len(found) < 24:
        raise Misconfigured(
            "serve.webhook.secret is not `whsec_` and the base64 of 24 bytes or more",
            hint="echo whsec_$(head -c 32 /dev/urandom | base64)",
        )
    return found


def signature(secret: bytes, message_id: str, seconds: int, body: bytes) -> str:
    """Return the `webhook-signature` header of a message."""
    signed = b".".join((message_id.encode(), str(seconds).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


class Webhook:
    """Sends alerts, one after the other, until cancelled."""

    def __init__(self, settings: WebhookSettings, clock: Clock, *, pause_s: float = FIRST_PAUSE_S) -> None:
        """Check the settings. Raises Misconfigured."""
        url = httpx2.URL(settings.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise Misconfigured("serve.webhook.url is not an http address", hint="see config.example.toml")
        self._url, self._clock, self._pause_s = settings.url, clock, pause_s
        self._secret = secret_bytes(settings.secret) if settings.secret else None
        self._waiting: deque[Alert] = deque()
        self._news = asyncio.Event()
        self.dropped = 0

    def push(self, alert: Alert) -> None:
        """Have an alert told, raised or cleared."""
        if len(self._waiting) == MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(alert)
        self._news.set()

    async def run(self) -> None:
        """Send what comes."""
        # Never through a proxy of the environment, never to where a redirect points.
        async with httpx2.AsyncClient(timeout=ANSWER_S, trust_env=False, follow_redirects=False) as client:
            while True:
                await self._news.wait()
                self._news.clear()
                while self._waiting:
                    await self._send(client, self._waiting.popleft())

    async def _send(self, client: httpx2.AsyncClient, alert: Alert) -> None:
        body = msgspec.json.encode(message(alert, self.dropped))
        message_id = f"alert-{alert.id}-{'cleared' if alert.cleared else 'raised'}"  # the same at every try
        for turn in range(TRIES):
            if await self._post(client, message_id, body):
                return
            await asyncio.sleep(self._pause_s * 2**turn)
        log.error("webhook.given_up", alert=alert.id, kind=alert.kind, tries=TRIES)

    async def _post(self, client: httpx2.AsyncClient, message_id: str, body: bytes) -> bool:
        seconds = self._clock.wall_ns() // 10**9
        headers = {"content-type": "application/json", "webhook-id": message_id, "webhook-timestamp": str(seconds)}
        if self._secret is not None:
            headers["webhook-signature"] = signature(self._secret, message_id, seconds, body)
        try:
            answer = await client.post(self._url, content=body, headers=headers)
        except httpx2.HTTPError as error:
            log.warning("webhook.failed", why=type(error).__name__)
            return False
        if not answer.is_success:
            log.warning("webhook.refused", status=answer.status_code)
        return answer.is_success


def message(alert: Alert, dropped: int = 0) -> dict[str, Any]:
    """Return what is posted."""
    state = "cleared" if alert.cleared else "raised"
    told: dict[str, Any] = {"type": f"alert.{state}", "data": msgspec.to_builtins(alert)}
    return told | ({"dropped": dropped} if dropped else {})
