"""A backup to be killed. `backup_child.py backup|restore DATA PLACE`."""

import sys
from pathlib import Path

from ticktape.keep.backup import backup
from ticktape.keep.backup_pin import World
from ticktape.keep.backup_store import FolderStore
from ticktape.keep.restore import restore, source_of
from ticktape.lake.disk import Disk

if __name__ == "__main__":
    what, data, place = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    if what == "backup":
        backup(World(data, "", data), FolderStore(place, Disk()), keep=1, disk=Disk())
    else:
        with source_of(str(place)) as source:
            restore(source, data, disk=Disk())
    print("done", flush=True)  # noqa: T201  # whom the test waits for
