"""CRC32C (Castagnoli, RFC 3720 appendix B.4) over whole records, callable from kernels.

One instruction per 8 bytes where the processor has it (x86-64 with SSE4.2), eight tables elsewhere. Same
value as every CRC32C library: a test compares both with google-crc32c.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core.extending import intrinsic

from ticktape.jit import kernel, part

_POLYNOMIAL = 0x82F63B78


def _tables() -> Any:
    tables = np.zeros((8, 256), dtype=np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        tables[0, byte] = value
    for byte in range(256):
        for row in range(1, 8):
            before = int(tables[row - 1, byte])
            tables[row, byte] = (before >> 8) ^ int(tables[0, before & 0xFF])
    return tables


TABLES = _tables()
HAS_INSTRUCTION = "x86_64" in binding.get_process_triple() and bool(binding.get_host_cpu_features().get("sse4.2"))


@intrinsic
def _instruction(typingctx: Any, crc: Any, word: Any) -> Any:
    """Return the 64-bit SSE4.2 crc32 step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i64 = ir.IntType(64)
        step = builder.module.declare_intrinsic("llvm.x86.sse42.crc32.64.64", (), ir.FunctionType(i64, (i64, i64)))
        return builder.call(step, args)

    return types.uint64(types.uint64, types.uint64), codegen


@part
def _step_table(crc: int, word: int) -> int:
    x = word ^ crc
    crc = np.uint64(0)
    for k in range(8):
        crc ^= np.uint64(TABLES[7 - k, (x >> np.uint64(8 * k)) & np.uint64(0xFF)])
    return crc


@part
def _step_instruction(crc: int, word: int) -> int:
    return _instruction(crc, word)


# The state of a sum is the CRC before its last inversion; a sum starts at START and ends with `state ^ START`.
START = np.uint64(0xFFFFFFFF)
step = _step_instruction if HAS_INSTRUCTION else _step_table


@kernel
def crc32c_table(words: Any, first: int, last: int) -> int:
    """Return the CRC32C of words[first:last] (uint64, little endian) by table: what other processors run."""
    state = START
    for i in range(first, last):
        state = _step_table(state, words[i])
    return np.int64(state ^ START)


@kernel
def crc32c_words(words: Any, first: int, last: int) -> int:
    """Return the CRC32C of words[first:last] (uint64, little endian)."""
    state = START
    for i in range(first, last):
        state = step(state, words[i])
    return np.int64(state ^ START)
