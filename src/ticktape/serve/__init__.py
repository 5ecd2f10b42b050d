"""The process that answers: tails the tape, keeps what is asked most in memory, opens the doors."""
