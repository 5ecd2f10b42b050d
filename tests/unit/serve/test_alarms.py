"""The watch: what is wrong is raised once, what is over is cleared, what is normal says nothing."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serve_support import SECOND, T0, House, serving

from ticktape.alerts import AlertBook
from ticktape.clock import SystemClock
from ticktape.errors import Misconfigured, Unavailable
from ticktape.model.records import Flag, GapCause, GapState, Kind, Status
from ticktape.serve.alarms import watch as watching
from ticktape.serve.alarms.rules import Keep, Thresholds
from ticktape.serve.alarms.watch import Watch
from ticktape.serve.alarms.webhook import Webhook, WebhookSettings, signature
from ticktape.serve.keys import KeyStore


class Desk:
    """A watch over a house whose recorder and feed are up."""

    def __init__(self, house: House, data: Path, **more: Any) -> None:
        self.house = house
        self.btc = house.enrol("BTCUSDT")
        house.status(Status.RECORDER_UP, source=0)
        house.status(Status.SOURCE_UP)
        house.trades(self.btc, 10)
        self.live = house.live()
        self.book = AlertBook(data, house.clock)
        self.keep: Keep | None = None
        self.watch = Watch(self.live, house.directory, self.book, house.clock, keep=self._ask, **more)

    async def _ask(self) -> Keep | None:
        return self.keep

    async def look(self) -> list[str]:
        """Let the watch look. Returns what changed, a cleared one with a minus."""
        while self.live.step():
            pass
        changed = await self.watch.look()
        return sorted(f"{'-' if each.cleared else ''}{each.kind} {each.subject}" for each in changed)

    def tick(self, flags: int = 0) -> None:
        """A trade comes in, now."""
        rows = self.house.rows(Kind.TRADE, self.btc.id, 1, self.house.clock.now_ns())
        rows["ts_recv"] = rows["ts_event"]
        rows["a"], rows["b"], rows["c"], rows["flags"] = 6543210000000, 12345000, self.house.tape.position, flags
        self.house.tape.append(rows)

    def clock_record(self) -> None:
        """The recorder says what time it is, as it does every second."""
        rows = self.house.rows(Kind.CLOCK, 0, 1, self.house.clock.now_ns())
        rows["source"], rows["a"] = 0, self.house.clock.now_ns()
        rows["ts_recv"] = rows["ts_event"]
        self.house.tape.append(rows)


@pytest.fixture
def desk(house: House, tmp_path: Path) -> Desk:
    return Desk(house, tmp_path / "world")


@pytest.mark.asyncio
async def test_a_healthy_feed_says_nothing(desk: Desk) -> None:
    for _ in range(20):
        desk.house.clock.advance(SECOND)
        desk.tick()
        assert await desk.look() == []


@pytest.mark.asyncio
async def test_a_silent_feed_is_stale_after_ten_seconds_once_and_until_it_ticks(desk: Desk) -> None:
    desk.house.clock.advance(9 * SECOND)
    desk.clock_record()
    assert await desk.look() == []
    desk.house.clock.advance(3 * SECOND)
    desk.clock_record()
    assert await desk.look() == ["feed_stale binance"]
    desk.house.clock.advance(SECOND)
    assert await desk.look() == []
    desk.tick()
    assert await desk.look() == ["-feed_stale binance"]


@pytest.mark.asyncio
async def test_a_feed_whose_market_is_closed_is_not_stale(house: House, tmp_path: Path) -> None:
    desk = Desk(house, tmp_path / "world")
    house.directory.enrol("binance", "BTCUSDT", msgspec.structs.replace(desk.btc, calendar="NYSE"))
    desk.house.clock.advance(60 * SECOND)  # 12:01 UTC: before the open in New York
    desk.clock_record()
    assert await desk.look() == []


@pytest.mark.asyncio
async def test_down_feeds_open_gaps_and_full_disks_are_told(desk: Desk) -> None:
    gap = desk.house.gap(desk.btc.id, GapState.OPENED, start=T0, cause=GapCause.DISCONNECTED)
    stopped = desk.house.gap(desk.btc.id, GapState.OPENED, start=T0, cause=GapCause.STOPPED)
    desk.house.status(Status.SOURCE_DOWN)
    desk.house.status(Status.DISK_FULL, source=0)
    assert await desk.look() == ["disk_full record", "feed_down binance", "gap binance"]
    desk.house.status(Status.SOURCE_UP)
    desk.house.status(Status.DISK_OK, source=0)
    desk.house.gap(desk.btc.id, GapState.CLOSED, start=T0, gap_id=gap)
    assert await desk.look() == ["-disk_full record", "-feed_down binance", "-gap binance"]
    assert stopped  # an operator did that: no alarm, then or now


@pytest.mark.asyncio
async def test_a_dead_recorder_is_one_alert_not_one_a_feed(desk: Desk) -> None:
    desk.house.clock.advance(60 * SECOND)  # alive, and not even the time is written
    assert await desk.look() == ["recorder_down record"]


@pytest.mark.asyncio
async def test_a_spike_stands_a_minute_and_old_ones_are_the_past(desk: Desk) -> None:
    desk.tick(Flag.SPIKE)
    assert await desk.look() == []  # it was there when we began to look
    for _ in range(2):
        desk.tick(Flag.SPIKE)
        desk.house.clock.advance(SECOND)
    assert await desk.look() == ["spike binance"]
    for _ in range(58):
        desk.house.clock.advance(SECOND)
        desk.tick()
        assert await desk.look() == []
    desk.house.clock.advance(3 * SECOND)
    desk.tick()
    assert await desk.look() == ["-spike binance"]


@pytest.mark.asyncio
async def test_late_ticks_and_failing_flushes(desk: Desk) -> None:
    rows = desk.house.rows(Kind.TRADE, desk.btc.id, 1, T0 + SECOND)
    rows["ts_recv"] = T0 + 8 * SECOND
    desk.house.clock.advance(8 * SECOND)
    desk.house.tape.append(rows)
    desk.keep = Keep(2, "no room", 10.0, 600.0)
    assert await desk.look() == ["flush_failure keep", "lag binance"]
    desk.keep = Keep(0, "", 10.0, 600.0)
    desk.tick()
    assert await desk.look() == ["-flush_failure keep", "-lag binance"]
    desk.keep = Keep(0, "", 5000.0, 600.0)
    assert await desk.look() == ["flush_failure keep"]


@pytest.mark.asyncio
async def test_a_credential_is_told_at_each_threshold_once(house: House, tmp_path: Path) -> None:
    ends = T0 + 50 * 3600 * SECOND
    desk = Desk(house, tmp_path / "world", expiries=lambda: {"key demo": ends}, thresholds=Thresholds(stale_s=1e9))
    said: list[str] = []
    for _ in range(51):
        desk.house.clock.advance(3600 * SECOND)
        desk.tick()
        said += await desk.look()
    assert [each for each in said if not each.startswith("-")] == [
        f"credential_expiry key demo:{left}" for left in ("48h", "24h", "6h", "ended")
    ]


@pytest.mark.asyncio
async def test_little_room_on_the_disk_is_told(house: House, tmp_path: Path) -> None:
    desk = Desk(house, tmp_path / "world", thresholds=Thresholds(disk_free_bytes=1 << 60))
    assert await desk.look() == ["disk data"]


@pytest.mark.asyncio
async def test_the_watch_runs_until_told_to_stop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "EVERY_S", 0.005)
    stop = asyncio.Event()
    desk.house.status(Status.SOURCE_DOWN)
    while desk.live.step():
        pass
    running = asyncio.create_task(desk.watch.run(stop))
    while not desk.book.standing():  # noqa: ASYNC110  # another task writes it
        await asyncio.sleep(0.005)
    stop.set()
    await running


@pytest.mark.asyncio
async def test_r07_a_book_that_cannot_be_written_ends_no_watch_and_is_written_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise Unavailable("the book of alerts cannot be written: database or disk is full")

    desk.house.status(Status.SOURCE_DOWN)
    with monkeypatch.context() as broken:
        broken.setattr(desk.book, "start", full)
        assert await desk.look() == []
        assert await desk.look() == []
    assert await desk.look() == ["feed_down binance"]


@pytest.mark.asyncio
async def test_looking_writes_no_last_use_of_keys(house: House) -> None:
    """Once a second would be a commit to the disk a second, on the loop that answers."""
    house.enrol("BTCUSDT")
    house.status(Status.RECORDER_UP, source=0)
    async with serving(house, house.key()) as client:
        await client.get("/api/v1/status")
        async with asyncio.timeout(10):
            while (await client.get("/api/v1/pipeline/health")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await client.get("/api/v1/pipeline/feed-health")  # looks, as the watch does
        assert [key.last_used_ns for key in KeyStore(house.data, house.clock).known()] == [None]


# -- the webhook -----------------------------------------------------------------------------------------

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver:
    """A receiver that refuses the first `refuse` messages."""

    def __init__(self, refuse: int) -> None:
        self.refuse, self.port = refuse, 0
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.tries = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head.split("\r\n")[1:])}
        body = await reader.readexactly(int(headers["content-length"]))
        self.tries += 1
        refused = self.tries <= self.refuse
        if not refused:
            self.got.append((headers, body))
        writer.write(f"HTTP/1.1 {503 if refused else 204} x\r\nConnection: close\r\n\r\n".encode())
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def receiver(refuse: int = 0) -> AsyncGenerator[Receiver]:
    made = Receiver(refuse)
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


@pytest.mark.asyncio
async def test_the_webhook_signs_retries_and_says_what_was_raised_and_cleared(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    async with receiver(refuse=2) as there:
        settings = WebhookSettings(url=f"http://127.0.0.1:{there.port}/hook", secret=SECRET)
        hook = Webhook(settings, SystemClock(), pause_s=0.001)
        sending = asyncio.create_task(hook.run())
        for alert in (book.start("gap", "binance", "1 gap is open"), book.clear("gap", "binance")):
            assert alert is not None
            hook.push(alert)
        while len(there.got) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    assert there.tries == 4
    bodies = [msgspec.json.decode(body) for _, body in there.got]
    assert [each["type"] for each in bodies] == ["alert.raised", "alert.cleared"]
    for headers, body in there.got:
        # By the text of the specification, not by our own function.
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(bytes(range(32)), signed, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"


def test_more_than_the_webhook_can_hold_drops_the_oldest_and_counts(tmp_path: Path) -> None:
    book = AlertBook(tmp_path)
    hook = Webhook(WebhookSettings(url="http://127.0.0.1:9/"), SystemClock())
    for turn in range(150):
        alert = book.start("spike", str(turn), "x")
        assert alert is not None
        hook.push(alert)
    assert hook.dropped == 50


@pytest.mark.parametrize("secret", ["abc", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"short").decode()])
def test_a_weak_or_broken_secret_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Webhook(WebhookSettings(url="http://127.0.0.1:9/", secret=secret), SystemClock())
    assert secret == "whsec_" or secret not in str(refused.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/", "nothing", "http://"])
def test_a_webhook_that_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        Webhook(WebhookSettings(url=url), SystemClock())


def test_the_signature_is_that_of_the_published_example() -> None:
    # standard-webhooks, libraries/python/tests: the vector its own verifiers are tested with.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


# -- over REST -------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_alerts_and_health_are_answered_and_cleared(house: House) -> None:
    house.enrol("BTCUSDT")
    house.status(Status.RECORDER_UP, source=0)
    house.status(Status.SOURCE_DOWN)
    book = AlertBook(house.data, house.clock)
    book.start("spot_miss", "ETHUSDT", "a row of ETHUSDT differs")
    async with serving(house, house.key(symbols=["BTCUSDT"])) as client:

        async def ask(path: str) -> Any:
            answer = await client.get(f"/api/pipeline/{path}")  # the path from before
            assert answer.content == (await client.get(f"/api/v1/pipeline/{path}")).content
            return answer.json()

        async with asyncio.timeout(10):
            while (await client.get("/api/v1/pipeline/health")).json().get("state") != "failing":  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        told = await ask("alerts?state=standing")
        assert [each["kind"] for each in told["alerts"]] == ["feed_down"]  # of ETHUSDT this key may not know
        assert [part["name"] for part in (await ask("health"))["parts"] if not part["ok"]] == ["feeds"]
        (feed,) = (await ask("feed-health"))["feeds"]
        assert (feed["name"], feed["healthy"], feed["alerts"]) == ("binance", False, ["feed_down"])

        house.status(Status.SOURCE_UP)
        async with asyncio.timeout(10):
            while not (await client.get("/api/v1/pipeline/health")).json()["ok"]:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert (await ask("alerts?state=standing"))["alerts"] == []
        (past,) = (await ask("alerts?state=cleared"))["alerts"]
        assert past["kind"] == "feed_down"
    book.close()
