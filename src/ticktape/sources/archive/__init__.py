"""Binance's public CSV archives (data.binance.vision) as a source. github.com/binance/binance-public-data."""
