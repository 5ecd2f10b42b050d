"""`python -m ticktape.simulate.binance`: the venue as a process; one JSON line says where it listens."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from ticktape.errors import BadInput
from ticktape.simulate.binance.settings import VenueSettings
from ticktape.simulate.binance.venue import BinanceVenue


def parser() -> argparse.ArgumentParser:
    """The flags; every other setting goes through --set key=value."""
    parsing = argparse.ArgumentParser(prog="python -m ticktape.simulate.binance", description=__doc__)
    add = parsing.add_argument
    add("--host", default="127.0.0.1")
    add("--port", type=int, default=0, help="WebSocket port, 0 picks one")
    add("--rest-port", type=int, default=0, help="REST port, 0 picks one")
    add("--seed", type=int, default=1)
    add("--rate", type=float, default=200.0, help="market actions a second")
    add("--speed", type=float, default=1.0, help="of a capture; 0 is flat out")
    add("--capture", type=Path, help="play this recording instead of the seeded market")
    add("--capture-start", choices=("first", "all", "command"), default="first")
    add(
        "--flat-out",
        type=int,
        default=0,
        metavar="N",
        help="trades of N symbols as fast as sockets take them",
    )
    add("--paced", type=int, default=0, metavar="R", help="exactly R trade frames a second")
    add("--symbols", type=int, default=4, help="symbols of --paced")
    add("--frames", type=int, default=0, help="stop a bulk run after so many frames")
    add("--ledger", type=Path, help="append every trade to this file")
    add("--ledger-limit", type=int, default=5_000_000, help="trades kept per symbol")
    add(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other VenueSettings field, as JSON",
    )
    add("--json", action="store_true", help="print the addresses as one JSON line")
    add("--supervised", action="store_true", help="stop when standard input ends")
    return parsing


def settings(args: argparse.Namespace) -> VenueSettings:
    """Flags as settings. Raises BadInput for an unknown key or value."""
    fields: dict[str, object] = {
        "host": args.host,
        "port": args.port,
        "rest_port": args.rest_port,
        "seed": args.seed,
        "rate": args.rate,
        "speed": args.speed,
        "capture": args.capture,
        "capture_start": args.capture_start,
        "flat_out": args.flat_out,
        "paced_per_s": args.paced,
        "paced_symbols": args.symbols,
        "bulk_frames": args.frames,
        "ledger_path": args.ledger,
        "ledger_limit": args.ledger_limit,
    }
    try:
        for pair in args.set:
            key, _, value = str(pair).partition("=")
            fields[key] = msgspec.json.decode(value)
        return msgspec.convert(fields, VenueSettings, dec_hook=lambda kind, value: kind(value))
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise BadInput(f"simulate.binance: {error}", hint="see VenueSettings") from None


async def run(chosen: VenueSettings, *, as_json: bool, supervised: bool = False) -> None:
    """Serve until SIGTERM or Ctrl-C; a feed that fails ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if supervised:
        loop.add_reader(sys.stdin.fileno(), lambda: (loop.remove_reader(sys.stdin.fileno()), stop.set()))
    async with BinanceVenue(chosen) as venue:
        where = {
            "ws_port": venue.port,
            "rest_port": venue.rest_port,
            "ws_url": venue.ws_url,
            "rest_url": venue.rest_url,
        }
        line = msgspec.json.encode(where).decode()
        said = line if as_json else f"streams {venue.ws_url}  REST {venue.rest_url}"
        sys.stdout.write(said + "\n")
        sys.stdout.flush()
        venue.playing.add_done_callback(lambda task: task.cancelled() or (task.exception() and stop.set()))
        await stop.wait()


def main() -> int:
    """Entry point."""
    args = parser().parse_args()
    try:
        chosen = settings(args)
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return 2
    asyncio.run(run(chosen, as_json=args.json, supervised=args.supervised))
    return 0


if __name__ == "__main__":
    sys.exit(main())
