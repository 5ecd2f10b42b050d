"""The tape: an append-only, memory-mapped journal of 64-byte records. See docs/tape-format.md."""
