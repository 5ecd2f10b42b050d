"""State kept by following the tape: bars, gaps, the board of sources."""
