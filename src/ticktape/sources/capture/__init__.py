"""Recorded frame files as a source: a day played again is just another source."""
