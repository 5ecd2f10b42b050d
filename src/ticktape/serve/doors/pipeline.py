"""REST on the pipeline itself: keep's figures and orders, and all figures for Prometheus."""

from __future__ import annotations

import msgspec
from fastapi.responses import Response

from ticktape.control import CallRefused
from ticktape.errors import Unavailable
from ticktape.lake.figures import KeepStat
from ticktape.serve import answers as a
from ticktape.serve import health, metrics
from ticktape.serve.control import KeepRequest
from ticktape.serve.doors.parts import Admin, Anyone, Parts

STAT_S = 2.0  # keep answers it at once, whatever else it does


class PipelineRest:
    """The handlers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def stats(self, key: Anyone) -> Response:
        """Return how recording, answering and keeping go: counters, lag, spot checks, backups."""
        del key
        return _json(await self._stats())

    async def metrics(self, key: Anyone) -> Response:
        """Return all figures in the text format of Prometheus."""
        del key
        status, stat, _ = await self.told()
        desk = self._parts.desk
        asking, sending = (desk.pool.asking, desk.pool.sending) if desk else (0, 0)
        return Response(metrics.text(metrics.Seen(status, stat, asking, sending)), media_type=metrics.MEDIA_TYPE)

    async def cleanup(self, key: Admin) -> Response:
        """Compact, expire and delete now what keep would by itself within the hour; done=false: it still goes on."""
        del key
        if self._parts.keep is None:
            raise Unavailable("this server knows of no keep", hint="ticktape keep")
        answer = await self._parts.keep.ask(KeepRequest("cleanup"))
        return Response(b'{"ok":' + (bytes(answer) or b"null") + b"}", media_type="application/json")

    async def status(self) -> a.StatusAnswer:
        """Return how everything is, keep included."""
        status, stat, problems = await self.told()
        found = [*status.problems, *problems]
        raw = msgspec.Raw(msgspec.json.encode(stat))
        return msgspec.structs.replace(status, ok=not found, problems=found, keep=raw)

    async def _stats(self) -> a.PipelineStats:
        status, stat, problems = await self.told()
        return a.PipelineStats(
            as_of_position=status.as_of_position,
            sample=status.sample,
            recorder=status.recorder,
            tape=status.tape,
            sources=status.sources,
            keep=msgspec.Raw(msgspec.json.encode(stat)),
            missing=problems if stat is None else [],
        )

    async def told(self) -> tuple[a.StatusAnswer, KeepStat | None, list[str]]:
        """Return what the tape tells, what keep says of itself, and what is wrong with keep in words."""
        status, keep = self._parts.ask().status(), self._parts.keep
        if keep is None or not keep.expected:  # nobody kept this world, or keep was stopped in good order
            return status, None, []
        try:
            stat = msgspec.json.decode(await keep.ask(KeepRequest("stat"), STAT_S), type=KeepStat)
        except (Unavailable, CallRefused, msgspec.MsgspecError) as error:
            return status, None, [f"keep does not answer ({error}): ticktape keep".replace("\n", " ")]
        return status, stat, health.keep_problems(stat)


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
