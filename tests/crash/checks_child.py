"""A keeper to be killed while it notes what it found. `checks_child.py DATA`; ends with "done"."""

import asyncio
import sys
from pathlib import Path

from ticktape import log
from ticktape.keep.daily import Daily
from ticktape.keep.process import Keeper, KeepSettings
from ticktape.keep.spot import Spotter
from ticktape.lake.disk import Disk
from ticktape.tape.directory import TapeDirectory
from ticktape.tape.reader import Reader

SAMPLES = 30


def run(data: Path) -> None:
    """Flush, settle what is due, take samples, and write what waits."""
    keeper = Keeper(KeepSettings(data=data, hot_hours=0), Reader(data / "tape"), disk=Disk())
    keeper.flush()
    directory = TapeDirectory(data / "tape")
    job = Daily(keeper, Reader(data / "tape"), directory)
    for day in job.due():
        job.settle(day)
    checks = Spotter(keeper, Reader(data / "tape"), [1, 2, 3])

    async def several() -> None:
        for _ in range(SAMPLES):
            await checks.run_one(asyncio.to_thread)

    asyncio.run(several())
    checks.write()
    keeper.close()


if __name__ == "__main__":
    log.configure("critical")
    run(Path(sys.argv[1]))
    print("done", flush=True)  # noqa: T201  # whom the test waits for
