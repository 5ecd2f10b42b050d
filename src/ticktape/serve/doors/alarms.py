"""REST on alerts and on the health of feeds and parts."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from fastapi import Query
from fastapi.responses import Response

from ticktape.errors import Unavailable
from ticktape.serve.alarms import answers
from ticktape.serve.alarms.watch import Watch
from ticktape.serve.doors.parts import Anyone, Parts

State = Annotated[Literal["standing", "cleared", "all"], Query(description="which alerts")]
Limit = Annotated[int, Query(ge=1, le=1000, description="alerts, the latest ones")]


class AlarmsRest:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def alerts(self, key: Anyone, state: State = "all", limit: Limit = 100) -> Response:
        """Return what was or is wrong, newest first: stale feeds, gaps, spikes, lag, disk, flushes, spot checks."""
        return _json(answers.alerts(self._watch().book, state, limit, self._parts.ask().common(), key.symbols))

    async def health(self, key: Anyone) -> Response:
        """Return how each part of the pipeline is doing, by the alerts that stand."""
        return _json(answers.health(self._watch().book, self._parts.ask().common(), key.symbols))

    async def feeds(self, key: Anyone) -> Response:
        """Return how each feed is doing: fresh or stale, how late, how fast, what is missing now."""
        del key
        watch = self._watch()
        known = await watch.known()
        return _json(answers.feeds(watch.book, known, watch.thresholds, self._parts.ask().common()))

    def _watch(self) -> Watch:
        if self._parts.watch is None:
            raise Unavailable("there is no tape yet", hint="ticktape up")
        return self._parts.watch


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
