"""The doors: thin, one a protocol, all over the same queries."""
