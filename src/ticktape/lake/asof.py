"""As-of join: for each trade the quote that stood when it happened."""

from __future__ import annotations

from typing import Any

import numpy as np

from ticktape.jit import kernel
from ticktape.model.records import Ints


@kernel
def _last_before(left_id: Any, left_ts: Any, right_id: Any, right_ts: Any, strict: bool, out: Any) -> None:
    """Write for each left row the place of the last right row of its instrument up to its time, or -1."""
    k = 0
    for j in range(left_ts.shape[0]):
        who, ts = left_id[j], left_ts[j]
        while k < right_ts.shape[0] and (
            right_id[k] < who or (right_id[k] == who and (right_ts[k] < ts or (not strict and right_ts[k] == ts)))
        ):
            k += 1
        out[j] = k - 1 if k > 0 and right_id[k - 1] == who else -1


def asof(left_id: Any, left_ts: Ints, right_id: Any, right_ts: Ints, *, strict: bool = False) -> Ints:
    """Return for each left row the place of the newest right row of its instrument not after it, or -1.

    Both sides sorted by instrument and time, as `Snapshot.read` gives one partition. `strict` takes only what came
    before: a quote with the trade's own time may be its consequence.
    """
    out: Ints = np.empty(len(left_ts), dtype=np.int64)
    _last_before(left_id, left_ts, right_id, right_ts, strict, out)
    return out
