"""What the market said: records, instruments, sessions. No I/O."""
