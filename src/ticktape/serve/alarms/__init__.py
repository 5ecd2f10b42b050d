"""Watches over feeds, disk and the other processes, and raises and clears alerts."""
