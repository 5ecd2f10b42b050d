"""The stream without our client: any WebSocket library will do, here `websockets`."""

import json
import os

from websockets.sync.client import connect

address = os.environ.get("TICKTAPE_STREAM", "ws://127.0.0.1:8877") + "/api/v1/stream"
headers = {"Authorization": f"Bearer {os.environ['TICKTAPE_API_KEY']}"}
with connect(address, additional_headers=headers) as socket:
    wanted = {"op": "subscribe", "channels": ["trades"], "symbols": ["BTCUSDT"], "from_position": 0}
    socket.send(json.dumps(wanted))
    for message in socket:
        told = json.loads(message)
        print(told["type"], told["position"])
        if told["type"] == "update":
            print(told["events"][0])
            break
