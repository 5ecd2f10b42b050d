"""Orders to the simulator over HTTP, for tests whose venue is another process. Not Binance's protocol.

POST /sim/faults    one fault or a list of them, see orders.py; answers {"ids": [n or null, ...]}
GET /sim/faults     the active frame faults
DELETE /sim/faults  end all, or ?id=n; frames still held are sent
POST /sim/start     start a capture or a bulk run that waits for a client
GET /sim/status     counters
GET /sim/ledger     ?symbol=&from_id=&limit=: every trade ever made, holes left out, no weight charged
"""

from __future__ import annotations

from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ticktape.errors import BadInput
from ticktape.simulate.binance.history import Row
from ticktape.simulate.binance.orders import DECODER, Order

LEDGER_ROWS = 1_000_000


class Controlled(Protocol):
    """What can be ordered."""

    def order(self, fault: Order) -> int | None:
        """Start a fault."""
        ...

    def clear(self, fault_id: int | None = None) -> None:
        """End one frame fault or all."""
        ...

    def faults_listing(self) -> list[dict[str, object]]:
        """The active frame faults."""
        ...

    def start(self) -> None:
        """Start what waits for a client."""
        ...

    def status(self) -> dict[str, object]:
        """Counters."""
        ...

    def ledger(self, symbol: str, from_id: int = 0, limit: int = LEDGER_ROWS) -> list[Row]:
        """Every trade ever made."""
        ...


def _json(body: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, media_type="application/json")


def routes(venue: Controlled) -> list[Route]:
    """The endpoints above."""

    async def post(request: Request) -> Response:
        raw = (await request.body()).strip()
        try:
            parts = msgspec.json.decode(raw, type=list[msgspec.Raw]) if raw[:1] == b"[" else [raw]
            faults = [DECODER.decode(part) for part in parts]
            return _json({"ids": [venue.order(fault) for fault in faults]})
        except (msgspec.DecodeError, BadInput) as error:
            return _json({"error": str(error)}, 422)

    async def get(request: Request) -> Response:
        return _json(venue.faults_listing())

    async def delete(request: Request) -> Response:
        fault_id = request.query_params.get("id")
        venue.clear(None if fault_id is None else int(fault_id))
        return _json({})

    async def start(request: Request) -> Response:
        venue.start()
        return _json({})

    async def status(request: Request) -> Response:
        return _json(venue.status())

    async def ledger(request: Request) -> Response:
        query = request.query_params
        limit = int(query.get("limit", LEDGER_ROWS))
        rows = venue.ledger(query.get("symbol", ""), int(query.get("from_id", 0)), limit)
        return _json([tuple(row) for row in rows])

    return [
        Route("/sim/faults", post, methods=["POST"]),
        Route("/sim/faults", get, methods=["GET"]),
        Route("/sim/faults", delete, methods=["DELETE"]),
        Route("/sim/start", start, methods=["POST"]),
        Route("/sim/status", status, methods=["GET"]),
        Route("/sim/ledger", ledger, methods=["GET"]),
    ]
