"""A folder per venue: connect.py owns the socket, normalise.py is pure, backfill.py asks for history."""
