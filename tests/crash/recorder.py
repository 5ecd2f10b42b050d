"""`python recorder.py DATA WS_URL REST_URL SYMBOLS`: a recorder on the simulated venue, until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from ticktape import log
from ticktape.record.process import Recorder, RecordSettings
from ticktape.record.runner import Backoff
from ticktape.simulate.binance.bulk_feed import names
from ticktape.sources.binance.settings import BinanceSettings
from ticktape.sources.binance.source import BinanceSource


async def main(data: Path, ws_url: str, rest_url: str, symbols: int) -> None:
    settings = BinanceSettings(
        symbols=tuple(names(symbols)), channels=("trade",), ws_url=ws_url, rest_url=rest_url, weight_share=1.0
    )
    recorder = Recorder(
        RecordSettings(data=data, segment_records=1 << 14, settle_s=0.5, backoff=Backoff(first_s=0.05, most_s=0.2)),
        [lambda directory: BinanceSource(settings, directory)],
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await recorder.run(stop)


if __name__ == "__main__":
    log.configure()
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
