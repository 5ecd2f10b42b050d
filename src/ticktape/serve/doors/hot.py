"""The questions that are asked most, answered behind the gate without the framework.

Its routing and its reading of arguments took 110 of 250 us of a question for the latest ticks.
Only what is plainly right is answered here, by the same handlers and for the same scopes. Anything else, a wrong
number or a name nobody knows, goes on to the framework, which says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, get_type_hints
from urllib.parse import parse_qsl

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ticktape.serve.doors.parts import Needs
from ticktape.serve.keys import Key

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_BASES = frozenset({"trades", "quotes"})
_SYMBOL = "{symbol:path}"

Handler = Callable[..., Awaitable[Response]]


class HotRoute(NamedTuple):
    """A route as the framework has it: `path` with its parameter, names and bounds of the query."""

    path: str
    handler: Handler
    needed: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


class _Known(NamedTuple):
    route: HotRoute
    needs: Needs


class Hot:
    """ASGI middleware behind the gate: what it does not know goes on. `most_limit` is the largest `limit`."""

    def __init__(self, app: ASGIApp, routes: Sequence[HotRoute], most_limit: int) -> None:
        self._app = app
        self._most_limit = most_limit
        known = [_Known(route, _needs_of(route.handler)) for route in routes]
        self._exact = {k.route.path: k for k in known if not k.route.path.endswith(_SYMBOL)}
        # The longer first: /ohlc/latest/X is no symbol of /ohlc/.
        begins = {k.route.path.removesuffix(_SYMBOL): k for k in known if k.route.path.endswith(_SYMBOL)}
        self._begins = sorted(begins.items(), key=lambda item: -len(item[0]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on."""
        found = self._found(scope)
        if found is None:
            await self._app(scope, receive, send)
            return
        (route, needs), in_path, in_query = found
        scope["route"], scope["path_params"] = route, in_path
        key: Key = scope["state"]["key"]
        key.require(needs.scopes)
        answer = await route.handler(key, **in_path, **in_query)
        await answer(scope, receive, send)

    def _found(self, scope: Scope) -> tuple[_Known, dict[str, str], Mapping[str, Any]] | None:
        if scope["type"] != "http" or scope["method"] != "GET":
            return None
        path: str = scope["path"]
        known, in_path = self._exact.get(path), dict[str, str]()
        if known is None:
            for begin, candidate in self._begins:
                if path.startswith(begin):
                    known, in_path = candidate, {"symbol": path[len(begin) :]}
                    break
            else:
                return None
        if not all(symbol and symbol.isprintable() for symbol in in_path.values()):
            return None
        in_query = self._read(known.route, scope["query_string"])
        return None if in_query is None else (known, in_path, in_query)

    def _read(self, route: HotRoute, query: bytes) -> Mapping[str, Any] | None:
        """Return the arguments of a query, None where the framework should look at it."""
        given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        found: dict[str, Any] = dict(given)
        names = found.keys()
        if len(found) != len(given) or not route.needed <= names <= route.needed | route.optional:
            return None
        if found.get("basis", "trades") not in _BASES:
            return None
        if (limit := found.get("limit")) is not None:
            if not _NUMBER.fullmatch(limit) or int(limit) > self._most_limit:
                return None
            found["limit"] = int(limit)
        return found


def _needs_of(handler: Handler) -> Needs:
    """Return what a handler says of the key it needs, so that this is said once."""
    (depends,) = get_type_hints(handler, include_extras=True)["key"].__metadata__
    needs: Needs = depends.dependency
    return needs
