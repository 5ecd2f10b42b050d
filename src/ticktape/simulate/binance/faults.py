"""What ordered frame faults do to the frames on their way out; deterministic from the seed and the frames.

Distances are counted in frames the fault's selector matches, so "three trades later" means trades whatever
else streams in between.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from ticktape.simulate.binance.corrupt import corrupted
from ticktape.simulate.binance.orders import Corrupt, Duplicate, FrameFault, Mute, Omit, Reorder
from ticktape.simulate.binance.wire import Message


class Active:
    """One ordered fault and how far it has come."""

    def __init__(self, spec: FrameFault | Omit, until: float | None, rng: random.Random) -> None:
        self.spec = spec if isinstance(spec, FrameFault) else Mute(symbol=spec.symbol)
        self.until = until
        self.acted = 0
        self._seen = 0
        self._batch: list[Message] = []
        self._held: list[tuple[int, list[Message]]] = []  # (matching frames still to pass, frames)
        self._rng = rng

    @property
    def done(self) -> bool:
        """Nothing left to do and nothing held back."""
        spent = bool(self.spec.count) and self.acted >= self.spec.count
        return spent and not self._held and not self._batch

    def matches(self, message: Message) -> bool:
        """Whether the selector covers a frame."""
        spec = self.spec
        return spec.symbol in ("", message.symbol) and spec.channel in ("", message.channel)

    def apply(self, message: Message) -> list[Message]:
        """The frames to send in place of this one."""
        self._seen += 1
        out = self._act(message) if self._due() else [message]
        return out + self._release(bool(out))

    def held(self) -> list[Message]:
        """Give back everything held: the fault is over."""
        frames = [frame for _, batch in self._held for frame in batch]
        self._held.clear()
        return frames

    def _due(self) -> bool:
        if self._batch:
            return True
        if self._seen <= self.spec.after or (self.spec.count and self.acted >= self.spec.count):
            return False
        return self.spec.chance >= 1.0 or self._rng.random() < self.spec.chance

    def _act(self, message: Message) -> list[Message]:
        spec = self.spec
        if isinstance(spec, Duplicate):
            return self._duplicate(spec, message)
        self.acted += 1
        if isinstance(spec, Reorder):
            self._held.append((spec.distance, [message]))
            return []
        if isinstance(spec, Corrupt):
            micro = message.micro and corrupted(message.micro, spec.how)
            return [message._replace(data=corrupted(message.data, spec.how), micro=micro)]
        return []  # Drop and Mute

    def _duplicate(self, spec: Duplicate, message: Message) -> list[Message]:
        self._batch.append(message)
        if len(self._batch) >= spec.batch:
            self.acted += 1
            # The frame that completes the batch passes first and must not count towards the distance.
            self._held.append((spec.distance + 1, self._batch))
            self._batch = []
        return [message]

    def _release(self, passed: bool) -> list[Message]:
        if not passed:
            return []
        waiting = [(left - 1, frames) for left, frames in self._held]
        self._held = [(left, frames) for left, frames in waiting if left > 0]
        return [frame for left, frames in waiting if left <= 0 for frame in frames]


class Faults:
    """The ordered frame faults, applied in the order they were ordered."""

    def __init__(self, seed: int, monotonic: Callable[[], float]) -> None:
        self._rng = random.Random(seed)
        self._monotonic = monotonic
        self._active: dict[int, Active] = {}
        self._next_id = 1

    @property
    def idle(self) -> bool:
        """No frame needs a look: bulk paths may skip this."""
        return not self._active

    def order(self, spec: FrameFault | Omit) -> int:
        """Start a fault; returns the id that clears it."""
        seconds = spec.seconds if isinstance(spec, Mute) else 0.0
        until = self._monotonic() + seconds if seconds else None
        rng = random.Random(self._rng.random())
        self._active[self._next_id] = Active(spec, until, rng)
        self._next_id += 1
        return self._next_id - 1

    def listing(self) -> list[dict[str, object]]:
        """What is active, for the control endpoint."""
        return [{"id": i, "acted": a.acted, "spec": a.spec} for i, a in self._active.items()]

    def clear(self, fault_id: int | None = None) -> list[Message]:
        """End one fault or all; returns the frames they still held, to be sent now."""
        ids = list(self._active) if fault_id is None else [fault_id]
        ended = [self._active.pop(i) for i in ids if i in self._active]
        return [frame for active in ended for frame in active.held()]

    def apply(self, message: Message) -> list[Message]:
        """The frames to send in place of this one: none, one or several."""
        frames = [message]
        for fault_id, active in list(self._active.items()):
            if active.until is not None and self._monotonic() >= active.until:
                del self._active[fault_id]
                continue
            frames = [out for f in frames for out in (active.apply(f) if active.matches(f) else [f])]
            if active.done:
                del self._active[fault_id]
        return frames
