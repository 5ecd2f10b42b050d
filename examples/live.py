"""The stream through our client: goes on by itself where a connection was cut, none lost, none twice."""

import asyncio

import ticktape


async def main() -> None:
    seen = 0
    async for event in ticktape.Client().live(["BTCUSDT"], ["trades"], from_position=0):
        seen += 1
        if seen == 3:
            print(event)
            break


asyncio.run(main())
