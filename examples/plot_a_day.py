"""A day of one-minute bars as a picture. TICKTAPE_API_KEY and TICKTAPE_ADDRESS are in the environment."""

import ticktape

client = ticktape.Client()
day = client.timeseries.get_range(symbols="BTCUSDT", schema="bars-1m", start="2025-11-20", end="2025-11-21")
print(day)
day.plot("day.svg")
