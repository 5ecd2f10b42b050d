"""picows by itself: a loop over its transports that sends the same bytes to each."""

from __future__ import annotations

import numpy as np
import uvloop

from ticktape.bench.place import Place
from ticktape.bench.result import Beside, Measured
from ticktape.bench.stream_send import picows_alone


def send(place: Place, ours: Measured) -> Beside:
    """Return its processor time a send, in turn with ours on the same machine."""
    peer = float(np.median(uvloop.run(picows_alone(place))))
    return Beside(peer="picows", peer_value=peer, ratio=peer / ours.value)
