"""What `ticktape tape repair` does beyond opening the tape, which already cuts and voids (recovery.py).

A missing file comes back empty, so that its positions are voided and not a hole in memory; and what was lost is said
on the tape itself, because the next start finds nothing to recover any more.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ticktape.clock import Clock
from ticktape.errors import Damaged, Misconfigured
from ticktape.model.records import (
    RECORD,
    RECORD_BYTES,
    Channel,
    Flag,
    GapCause,
    GapState,
    Kind,
    Status,
    empty,
    pack_gap,
)
from ticktape.tape import meta, recovery, segment
from ticktape.tape.lock import Lock
from ticktape.tape.writer import Writer


class Repaired(NamedTuple):
    """What was found and mended."""

    found: recovery.Found
    made_anew: list[str]  # files
    gaps: int  # said on the tape


def repair(folder: Path, clock: Clock) -> Repaired:
    """Mend the tape in `folder`. Raises Busy while somebody records, Misconfigured when there is no tape."""
    if not (folder / "tape.json").exists() and not segment.numbers(folder):
        raise Misconfigured(f"no tape in {folder}", hint="ticktape up")
    lock = Lock(folder / "writer.lock", "repair")
    try:
        made_anew = _restore_meta(folder) + _restore_segments(folder)
    finally:
        lock.release()
    tape = Writer(folder, sample=meta.load(folder).sample, role="repair", clock=clock)
    try:
        return Repaired(tape.opened.found, made_anew, declare(tape, clock.now_ns()))
    finally:
        tape.close()


def _restore_meta(folder: Path) -> list[str]:
    """Write `tape.json` again from the first good segment, if it cannot be read."""
    try:
        meta.load(folder)
    except (Damaged, Misconfigured) as error:
        if isinstance(error, Misconfigured) and (folder / "tape.json").exists():
            raise  # a version we do not know is no damage
    else:
        return []
    for number in segment.numbers(folder):
        path = segment.path_of(folder, number)
        try:
            header = segment.read_header(path)
        except Damaged:
            continue
        known = meta.Meta(segment.VERSION, header.tape_id.hex(), header.capacity, _is_sample(path, header.capacity))
        beside = folder / "tape.new"
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(known)) + b"\n")
        beside.replace(folder / "tape.json")
        segment.sync_folder(folder)
        return ["tape.json"]
    raise Damaged(f"{folder}: neither tape.json nor any segment's header can be read", hint="restore it from a backup")


def _is_sample(path: Path, capacity: int) -> bool:
    records = np.memmap(path, dtype=RECORD, mode="r", offset=segment.HEADER_BYTES, shape=(capacity,))
    return bool(np.any(records["flags"] & int(Flag.SYNTHETIC)))


def _restore_segments(folder: Path) -> list[str]:
    """Create the segments that are missing between others."""
    known = meta.load(folder)
    numbers = segment.numbers(folder)
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers)) if numbers else []
    for number in missing:
        header = segment.Header(number, known.capacity, known.id_bytes)
        os.close(segment.create(folder, header, segment.Disk()))
    return [segment.path_of(folder, number).name for number in missing]


def declare(tape: Writer, now_ns: int) -> int:
    """Put on the tape what opening it had to cut or void: a STATUS and one closed GAP each. Returns how many gaps."""
    found = tape.opened.found
    if not (found.damaged or found.cut_bytes):
        return 0
    spans = [(*_window(tape, damage.start, damage.stop, now_ns), GapCause.DAMAGED) for damage in found.damaged]
    if found.cut_bytes:
        spans.append((*_window(tape, found.position, found.position, now_ns), GapCause.TORN))
    batch = empty(1 + len(spans))
    batch["ts_event"] = batch["ts_recv"] = now_ns
    voided = sum(damage.stop - damage.start for damage in found.damaged) * RECORD_BYTES
    batch[0]["kind"], batch[0]["a"], batch[0]["b"], batch[0]["c"] = (
        Kind.STATUS,
        Status.RECOVERED,
        found.cut_bytes,
        voided,
    )
    for row, (start_ns, stop_ns, cause) in zip(batch[1:], spans, strict=True):
        row["kind"], row["side"], row["ts_event"], row["a"], row["c"] = Kind.GAP, GapState.CLOSED, start_ns, -1, -1
        row["d"] = pack_gap(cause, Channel.ALL, stop_ns - start_ns)
    tape.append(batch, system=True)
    return len(spans)


def _window(tape: Writer, start: int, stop: int, now_ns: int) -> tuple[int, int]:
    """Return our clock before `start` and after `stop`, from the commits that stand there."""
    past = tape.past.records
    before = int(past[start - 1 - tape.past.base]["ts_recv"]) if start > tape.first else now_ns
    after = int(past[stop - tape.past.base]["ts_recv"]) if start < stop < tape.opened.found.position else now_ns
    return before or after, after
