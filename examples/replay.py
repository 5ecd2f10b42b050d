"""A stretch of the past through the protocol of the stream: the same events, as fast as they are read."""

import asyncio

import ticktape


async def main() -> None:
    trades, volume = 0, 0
    async for event in ticktape.Client().replay(["BTCUSDT"], start="2025-11-20", end="2025-11-21", speed="max"):
        trades, volume = trades + 1, volume + event.size
    print(f"{trades} trades, volume {volume}")


asyncio.run(main())
