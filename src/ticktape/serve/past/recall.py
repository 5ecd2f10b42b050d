"""Gets what `serve` lacks after a start on a trimmed tape, in the background and until it has it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from ticktape.clock import Clock
from ticktape.errors import TicktapeError
from ticktape.serve.live import Live
from ticktape.serve.past import older
from ticktape.serve.past.asks import Allowance, AskOlder
from ticktape.serve.past.pool import Pool
from ticktape.serve.readers.bar_kernel import ROOM
from ticktape.tape.directory import TapeDirectory

log = structlog.get_logger("serve")

ALLOWANCE = Allowance(seconds=600.0, memory_mb=2048, rows_read=500_000_000)
FIRST_PAUSE_S, MOST_PAUSE_S = 1.0, 60.0
WHO = "serve"  # asks the pool like a key, and has its own share of it


async def recall(live: Live, directory: TapeDirectory, pool: Pool, clock: Clock, stop: asyncio.Event) -> None:
    """Have `live` begin with what the lake has from before the tape, where the tape lacks its beginning."""
    if live.reader.first == 0:
        return
    live.lacking = ["bars and gaps from before the tape are being read from the lake"]
    pause_s = FIRST_PAUSE_S
    while not stop.is_set():
        began_ns = clock.monotonic_ns()
        try:
            body = await pool.ask(WHO, _question(live, directory, clock))
            found = older.decode(b"".join(body.pieces))
            await live.catch_up(found)
        except TicktapeError as error:
            live.lacking = [f"bars and gaps from before the tape could not be read yet: {error.message}"]
            log.warning("serve.recall_failed", error=error.message, again_s=pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
            pause_s = min(2 * pause_s, MOST_PAUSE_S)
            continue
        took_ms = (clock.monotonic_ns() - began_ns) // 1_000_000
        log.info("serve.recalled", position=found.position, rings=len(found.rings), took_ms=took_ms)
        return


def _question(live: Live, directory: TapeDirectory, clock: Clock) -> AskOlder:
    directory.refresh()
    return AskOlder(
        now_ns=clock.now_ns(),
        allowance=ALLOWANCE,
        sources={source.id: source.name for source in directory.sources()},
        tape_first=live.reader.release(),
        instruments=sorted(instrument.id for instrument in directory.all()),
        room=ROOM.tolist(),
    )
