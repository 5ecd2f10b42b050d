"""REST around the market: whose key this is, the machine, sessions; and the one-time link that signs the owner in."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import structlog
from fastapi import Query, Request
from fastapi.responses import Response

from ticktape.errors import BadInput
from ticktape.model.symbols import shown
from ticktape.serve import around
from ticktape.serve.audit import note
from ticktape.serve.doors.gate import LOOPBACK_HOSTS
from ticktape.serve.doors.parts import Anyone, Parts, Surroundings, Symbol, allowed
from ticktape.serve.past.when import parse_time
from ticktape.serve.rights import BadKey, Forbidden

log = structlog.get_logger("serve")

Start = Annotated[str, Query(description="first moment: ns since 1970, RFC 3339, or a date", examples=["2025-11-20"])]
End = Annotated[str, Query(description="first moment after the range", examples=["2025-11-21"])]


class Code(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of POST /desk/session."""

    code: str


class AroundRest:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def who(self, key: Anyone) -> Response:
        """Return what the key of this request may do."""
        return _json(around.who(key))

    async def host(self, key: Anyone) -> Response:
        """Return disk, memory, the size of tape and lake by table, and credentials that end."""
        given, common = self._given(), self._parts.ask().common()
        # Names of keys are for whoever manages keys.
        mine = {f"API key {key.prefix} ({key.name})": key.expires_ns} if key.expires_ns is not None else {}
        expiries = self._parts.watch.expiries() if self._parts.watch and "admin" in key.scopes else mine
        now = given.clock.now_ns()
        return _json(await asyncio.to_thread(around.host, given.world, common, expiries, given.retain_days, now))

    async def sessions(self, key: Anyone, symbol: Symbol, start_time: Start, end_time: End) -> Response:
        """Return when a symbol's market is open in a range, from its calendar."""
        calendar = self._parts.ask().calendar_of(allowed(key, symbol))
        start, end = parse_time(start_time, "start_time"), parse_time(end_time, "end_time")
        return _json(around.sessions(symbol, calendar, start, end))

    async def exchange(self, request: Request) -> Response:
        """Exchange the code of a one-time link for a session key, on this machine and for a page of ours only."""
        given, address = self._given(), request.client.host if request.client else ""
        if address not in LOOPBACK_HOSTS or not _same_origin(request):
            raise Forbidden("a link signs in on the machine it was printed on", hint="sign in with an API key")
        try:
            asked = msgspec.json.decode(await request.body(), type=Code)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"body: {shown(str(error), 200)}", hint='{"code": "..."}') from None
        try:
            made = given.links.exchange(asked.code, self._parts.keys)
        except BadKey:
            self._parts.limits.failed(address)
            raise
        note(said=f"signed in by a link as tt_{made.info.prefix}")
        log.info("serve.signed_in_by_link", key=made.info.prefix)
        return _json({"key": made.key, "info": around.who(made.info)})

    def _given(self) -> Surroundings:
        if self._parts.around is None:
            raise BadInput("this server has no pages", hint="ticktape serve")
        return self._parts.around


def _same_origin(request: Request) -> bool:
    # A form or a page from elsewhere cannot set this type without asking first, and we answer no such question (X15).
    json = request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"
    return json and request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _json(answer: object) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
