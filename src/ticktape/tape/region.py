"""One contiguous span of addresses in which every segment has its place.

The span is reserved once without memory behind it (PROT_NONE); each segment file is mapped into it at
its fixed offset. Kernels therefore see the whole tape as one array, `records[position - base]`, with no
look-up per record, and a mapped segment keeps its memory even after its file is deleted.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

import numpy as np

from ticktape.errors import Unavailable
from ticktape.model.records import RECORD, RECORD_BYTES, Records

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]

_PROT_NONE = 0
_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000 if os.uname().sysname == "Linux" else 0
_MAP_POPULATE = 0x8000 if os.uname().sysname == "Linux" else 0
_FAILED = ctypes.c_void_p(-1).value

SPAN_RECORDS = 1 << 32  # 256 GiB of addresses: what a 32-bit `back` can reach


def _map(address: int | None, size: int, prot: int, flags: int, fd: int, offset: int) -> int:
    found = _libc.mmap(address, size, prot, flags, fd, offset)
    if found == _FAILED or found is None:
        code = ctypes.get_errno()
        raise OSError(code, f"mmap of {size} bytes: {os.strerror(code)}")
    return found


class Region:
    """Addresses for `segments` segments of `capacity` records, the first of them number `first`."""

    def __init__(self, first: int, capacity: int) -> None:
        self.first = first
        self.capacity = capacity
        self.base = first * capacity  # position of records[0]
        self.segments = max(2, SPAN_RECORDS // capacity)
        size = self.segments * capacity * RECORD_BYTES
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        try:
            self._address = _map(None, size, _PROT_NONE, flags, -1, 0)
        except OSError as error:
            raise Unavailable(
                f"cannot reserve {size >> 30} GiB of addresses: {error}", hint="ulimit -v unlimited"
            ) from error
        span = (ctypes.c_uint8 * size).from_address(self._address)
        # The array keeps `span` alive, and the addresses go back only after the last view is gone.
        weakref.finalize(span, _libc.munmap, self._address, size)
        self.records: Records = np.frombuffer(memoryview(span), dtype=RECORD)
        self.records.flags.writeable = False

    def holds(self, segment: int) -> bool:
        """Say whether the segment's place lies inside this span."""
        return self.first <= segment < self.first + self.segments

    def put(self, segment: int, fd: int, offset: int, *, whole: bool = True) -> None:
        """Map the records of a segment file, which start at byte `offset`, into their place.

        `whole` maps all its pages at once, which costs a twentieth of a fault for each as it is met.
        """
        address = self._address_of(segment)
        size = self.capacity * RECORD_BYTES
        _map(address, size, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED | (_MAP_POPULATE if whole else 0), fd, offset)

    def clear(self, segment: int) -> None:
        """Replace a mapped segment by zeros: its file's space returns, and late readers meet no fault."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE | _MAP_FIXED
        _map(self._address_of(segment), self.capacity * RECORD_BYTES, mmap.PROT_READ, flags, -1, 0)

    def _address_of(self, segment: int) -> int:
        if not self.holds(segment):
            raise IndexError(f"segment {segment} is outside {self.first}..{self.first + self.segments - 1}")
        return self._address + (segment - self.first) * self.capacity * RECORD_BYTES
