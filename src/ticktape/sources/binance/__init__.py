"""Binance spot market data. Facts: binance-spot-api-docs (web-socket-streams.md, rest-api.md), July 2026."""
