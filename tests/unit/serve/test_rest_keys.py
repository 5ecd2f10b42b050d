"""Keys over REST: made, rotated and ended by an admin; what was asked with them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from serve_support import SECOND, House, serving, until

from ticktape.serve.audit_chain import days


async def made(client: Any, **more: Any) -> Any:
    return await client.post("/api/v1/keys", json={"name": "bot", "scopes": ["realtime"], **more})


@pytest.mark.asyncio
async def test_a_key_is_made_used_rotated_and_ended(house: House) -> None:
    house.enrol("BTCUSDT")
    async with serving(house, house.key(["admin"])) as client:
        await until(lambda: client.get("/api/v1/status"), 200)
        answer = (await made(client, symbols=["BTCUSDT"], addresses=["127.0.0.1"], model="alpha", at_once=3)).json()
        first = {"Authorization": f"Bearer {answer['key']}"}
        assert (answer["info"]["model"], answer["info"]["addresses"]) == ("alpha", ["127.0.0.1/32"])
        asked = "/api/v1/ticks/realtime?symbols=BTCUSDT"
        assert (await client.get(asked, headers=first)).status_code == 200
        prefix = answer["info"]["prefix"]
        second = (await client.post(f"/api/v1/keys/{prefix}/rotate", json={"overlap_s": 5})).json()
        house.clock.advance(6 * SECOND)
        assert (await client.get(asked, headers=first)).status_code == 401
        with_second = {"Authorization": f"Bearer {second['key']}"}
        assert (await client.get(asked, headers=with_second)).status_code == 200
        ended = await client.delete(f"/api/v1/keys/tt_{second['info']['prefix']}")
        assert ended.json() == {"revoked": second["info"]["prefix"]}
        assert (await client.get(asked, headers=with_second)).status_code == 401
        listed = await client.get("/api/v1/keys")
        assert sorted(key["model"] for key in listed.json()["keys"]) == ["", "alpha", "alpha"]
        assert all(key not in listed.text for key in (answer["key"], second["key"]))
        while not (found := (await client.get(f"/api/v1/keys/{prefix}/history")).json())["entries"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the audit is written a few times a second
        assert (found["entries"][0]["said"], found["whole"]) == ({"symbols": "BTCUSDT"}, True)
    text = b"".join(path.read_bytes() for path in days(house.data / "audit"))
    assert text
    assert all(key.encode()[12:] not in text for key in (answer["key"], second["key"]))


@pytest.mark.asyncio
async def test_what_makes_no_sense_makes_no_key(house: House) -> None:
    async with serving(house, house.key(["admin"])) as client:
        several: list[dict[str, Any]] = [
            {"scopes": []}, {"scopes": ["all"]}, {"name": ""}, {"symbols": ["../x"]}, {"addresses": ["example.com"]},
            {"expires_days": 0}, {"expires_days": -1}, {"per_s": 0}, {"at_once": 0}, {"pepper": "x"}, {"name": 7},
        ]  # fmt: skip
        for more in several:
            assert (await made(client, **more)).status_code == 422, more
        for path in ("nobody00", "..%2Fx", "a" * 300):
            assert (await client.delete(f"/api/v1/keys/{path}")).status_code in {404, 422}
            assert (await client.get(f"/api/v1/keys/{path}/history")).status_code in {404, 422}
        assert len((await client.get("/api/v1/keys")).json()["keys"]) == 1


@pytest.mark.asyncio
async def test_an_admin_of_some_symbols_cannot_make_itself_one_of_all(house: House) -> None:
    key = house.key(["admin"], symbols=["BTCUSDT"])
    async with serving(house, key) as client:
        assert (await made(client)).status_code == 403
        for method, path in (("GET", ""), ("DELETE", f"/{key[3:11]}"), ("POST", f"/{key[3:11]}/rotate"),
                             ("GET", f"/{key[3:11]}/history")):  # fmt: skip
            assert (await client.request(method, f"/api/v1/keys{path}")).status_code == 403, path
