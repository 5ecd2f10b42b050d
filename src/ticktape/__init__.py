"""ticktape records, proves, queries and replays the market."""

__version__ = "0.1.0"
