"""Measures this machine: one file per hot path, peers beside us in the same run. See catalogue.py for the list."""
