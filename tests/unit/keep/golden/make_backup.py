"""Makes the golden backups of a format, once and never again: `python tests/unit/keep/golden/make_backup.py`."""

from __future__ import annotations

import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "lake"), str(HERE.parent)]

from backup_support import Data, archive, backed_up  # noqa: E402

from ticktape.keep.backup_manifest import FORMAT  # noqa: E402

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        data = Data(Path(folder) / "data", capacity=1024)
        data.grow(1500)
        data.blob(b"what did not fit")
        data.grow(200, flush=False)
        archive(data, HERE / f"backup-{FORMAT}.tar.xz")
        backed_up(data, Path(folder) / "backups")
        data.close()
        with tarfile.open(HERE / f"backup-folder-{FORMAT}.tar.xz", "x:xz") as packed:
            packed.add(Path(folder) / "backups", "backups")
