#!/bin/sh
# The latest trade of a symbol. KEY is an API key: KEY=$(ticktape key create first)
curl -s -H "Authorization: Bearer $KEY" "${TICKTAPE_ADDRESS:-http://127.0.0.1:8877}/api/v1/ticks/realtime?symbols=BTCUSDT&limit=1"
