"""Simulated venues: real servers that speak the real protocols on loopback."""
