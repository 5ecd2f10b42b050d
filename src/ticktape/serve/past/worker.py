"""A worker: reads one question after the other from its standard input, a socket, and answers each on it.

Ends when the socket does. Arrow, Delta and DuckDB are loaded here, never in `serve`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from ticktape.errors import BadInput, Damaged, TicktapeError, TooCostly, Unavailable
from ticktape.serve.past import asks
from ticktape.serve.past.asks import LENGTH, AnyAsk, Reply, Trouble

TRIES = 3  # a tape may be trimmed past the version that was just read
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Desk:
    """Answers questions about one data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._world: Any = None

    def load(self) -> None:
        """Load what most questions need. What is missing is told to those who ask."""
        with contextlib.suppress(ImportError):
            import_module("ticktape.serve.past.ticks")
            import_module("ticktape.serve.past.bars")

    def answer(self, ask: AnyAsk) -> tuple[Reply, bytes]:
        """Return the answer, or why there is none."""
        try:
            return self._tried(ask)
        except ImportError as error:
            missing = Trouble("unavailable", f"the past cannot be read: {error}", "make setup")
            return Reply(trouble=missing), b""
        except TicktapeError as error:
            return Reply(trouble=_trouble(error)), b""
        except MemoryError:
            return Reply(trouble=Trouble("too_costly", "it took more memory than there is", "a shorter range")), b""
        except Exception:  # noqa: BLE001  # the last place: `serve` answers 500, and ends us
            traceback.print_exc()
            return Reply(trouble=Trouble("internal", "a worker failed; its traceback is in the log")), b""

    def _tried(self, ask: AnyAsk) -> tuple[Reply, bytes]:
        from ticktape.lake.tail import Trimmed  # noqa: PLC0415
        from ticktape.serve.past.view import World  # noqa: PLC0415

        self._world = self._world or World(self._data)
        for left in range(TRIES - 1, -1, -1):
            try:
                return _answerer(ask)(ask, self._world.view(ask))
            except Trimmed:
                if not left:
                    raise
        raise AssertionError


def _answerer(ask: AnyAsk) -> Callable[[Any, Any], tuple[Reply, bytes]]:
    # Each loads what only it needs.
    match ask:
        case asks.AskTicks():
            from ticktape.serve.past.ticks import answer_ticks as found  # noqa: PLC0415
        case asks.AskAsof():
            from ticktape.serve.past.ticks import answer_asof as found  # noqa: PLC0415
        case asks.AskBars():
            from ticktape.serve.past.bars import answer_bars as found  # noqa: PLC0415
        case asks.AskEstimate():
            from ticktape.serve.past.estimate import answer_estimate as found  # noqa: PLC0415
        case asks.AskDay():
            from ticktape.serve.past.day import answer_day as found  # noqa: PLC0415
        case asks.AskSql():
            from ticktape.serve.past.statement import answer_sql as found  # noqa: PLC0415
        case asks.AskOlder():
            from ticktape.serve.past.rings import answer_older as found  # noqa: PLC0415
    return found


def _trouble(error: TicktapeError) -> Trouble:
    kinds: list[tuple[type[TicktapeError], Any]] = [
        (TooCostly, "too_costly"),
        (BadInput, "bad_input"),
        (Unavailable, "unavailable"),
        (Damaged, "damaged"),
    ]
    kind: Any = next((name for kind, name in kinds if isinstance(error, kind)), "internal")
    return Trouble(kind, error.message, error.hint)


def _held() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * _PAGE


def run(data: Path, line: socket.socket) -> None:
    """Answer until the other side is gone."""
    desk, stream = Desk(data), line.makefile("rb")
    desk.load()
    line.sendall(asks.frame(Reply()))
    while head := stream.read(LENGTH.size):
        ask = asks.read_ask(stream.read(LENGTH.unpack(head)[0]))
        reply, body = desk.answer(ask)
        held = 0
        with contextlib.suppress(OSError):
            held = _held()
        line.sendall(asks.frame(msgspec.structs.replace(reply, held_bytes=held)))
        line.sendall(body)
        del reply, body


class _NoPandas:
    # Arrow loads pandas where it is installed, half a second and 40 MB for nothing that we use.
    def find_spec(self, name: str, _path: object = None, _target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


def main() -> None:
    """Serve the socket on standard input. What a library prints goes to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for `serve`, which ends us
    sys.meta_path.insert(0, _NoPandas())
    line = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        run(Path(sys.argv[1]), line)


if __name__ == "__main__":
    main()
