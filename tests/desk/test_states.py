"""The states that are no accident: what each looks like, and that hostile text stays text (X21)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

import pytest
from desk_support import AXE, WAIT_MS, Desk, Open
from playwright.sync_api import Page, Request, Route, WebSocketRoute, expect

pytestmark = pytest.mark.timeout(240)
expect.set_options(timeout=WAIT_MS)

VIEWS = ("overview", "market", "data", "query", "keys", "samples")
HOSTILE = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>{{7*7}}\'"&'


def answering(pattern: str, change: Callable[[Any], Any], status: int = 200) -> Callable[[Page], None]:
    """Return what changes the answers under a path before the page sees them."""

    def handle(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(status=status, content_type="application/json", body=json.dumps(change(answer.json())))

    def before(page: Page) -> None:
        page.route(pattern, handle)

    return before


def test_nothing_recorded_yet(show: Open) -> None:
    told = {"error": {"code": "unavailable", "message": "there is no tape yet", "hint": "ticktape up"}}
    names = re.compile(r"/api/v1/(status|instruments|pipeline|gaps|sources)")

    def refuse(page: Page) -> None:
        page.route(names, lambda route: route.fulfill(status=503, json=told))
        page.route_web_socket("**/stream", lambda socket: None)

    page = show(before=refuse, expect="503")
    expect(page.get_by_text("Nothing has been recorded here yet")).to_be_visible()
    expect(page.locator(".state")).to_contain_text("no tape yet")
    expect(page.get_by_text("ticktape up").first).to_be_visible()
    page.goto(page.url.partition("#")[0] + "#/market")
    expect(page.get_by_text("No symbol yet")).to_be_visible()


def test_a_feed_that_is_stale_is_said_at_once_and_on_every_view(show: Open) -> None:
    def stale(told: Any) -> Any:
        told["feeds"][0] |= {"healthy": False, "alerts": ["feed_stale"], "age_s": 42.0}
        return told

    page = show(before=answering("**/pipeline/feed-health", stale))
    expect(page.get_by_label("Feed sample")).to_contain_text("stale")
    page.goto(page.url.partition("#")[0] + "#/samples")
    expect(page.locator(".state")).to_contain_text("sample stale")


def test_a_feed_that_is_down_is_said(show: Open) -> None:
    def down(told: Any) -> Any:
        told["sources"][0]["status"] = "down"
        return told

    page = show(before=answering("**/api/v1/status", down))
    expect(page.get_by_label("Feed sample")).to_contain_text("down")


def test_disconnected_says_how_old_it_is_and_comes_back_by_itself(show: Open) -> None:
    page = show("#/market/BTCUSDT", expect="ERR_INTERNET_DISCONNECTED")
    expect(page.locator(".head .price")).to_have_text(re.compile(r"\d"))
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_contain_text("Disconnected")
    expect(page.get_by_role("alert")).to_contain_text("old")
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_key_that_may_little_is_told_what_it_lacks(desk: Desk, show: Open) -> None:
    page = show("#/query", key=desk.new_key("realtime"), expect="403")
    expect(page.get_by_text("It needs the scope sql")).to_be_visible()
    assert page.get_by_role("link", name="Keys").count() == 0
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_label("Feed sample")).to_be_visible()
    assert page.get_by_role("button", name="Restart").count() == 0
    expect(page.get_by_text("It needs the scope history")).to_be_visible()


def test_a_symbol_without_a_tick_shows_an_empty_session(show: Open) -> None:
    def empty(told: Any) -> Any:
        return told | {"bars": []}

    page = show("#/market/VIX?tf=1d", before=answering("**/ohlc/VIX?timeframe=1d&limit=500", empty))
    expect(page.get_by_text("No trade in these hours yet")).to_be_visible()


def many(count: int, name: Callable[[int], str]) -> Callable[[Any], Any]:
    """Return what makes the instruments so many."""

    def change(told: Any) -> Any:
        first = told["instruments"][0]
        more = [first | {"instrument_id": 100 + i, "symbol": name(i)} for i in range(count)]
        return told | {"instruments": [*told["instruments"], *more]}

    return change


def test_500_symbols_cost_only_the_rows_in_sight(show: Open) -> None:
    made_up = answering("**/api/v1/instruments", many(492, lambda i: f"S{i:03d}"))
    page = show("#/market/BTCUSDT", before=made_up, expect="404")  # of which the server knows nothing
    expect(page.get_by_label("Watchlist")).to_contain_text("500")
    page.wait_for_selector(".watch-row")
    assert page.locator(".watch-row").count() < 40
    page.locator(".watch-list").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    expect(page.locator(".watch-row", has_text="S491")).to_be_visible()
    assert page.locator(".watch-row").count() < 40


@pytest.mark.parametrize("width", [1280, 390])
def test_a_long_symbol_breaks_nothing(show: Open, width: int) -> None:
    name = "ESZ6_C_06250_WEEKLY_PM_SETTLED_ON_TH"
    page = show(
        f"#/market/{name}",
        before=answering("**/api/v1/instruments", many(1, lambda _: name)),
        width=width,
        expect="404",
    )
    expect(page.locator(".head h2")).to_have_text(name)
    for view in VIEWS:
        page.goto(page.url.partition("#")[0] + f"#/{view}")
        page.wait_for_timeout(200)
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{view} is {wide} px too wide"


BURST = """
() => {
  const Real = window.WebSocket;
  window.WebSocket = class extends EventTarget {
    constructor(url) {
      super();
      this.readyState = 1;
      this.n = 0;
      setTimeout(() => this.onopen(), 0);
      window.fakes = [...(window.fakes || []), this];
    }
    send(text) {
      const said = JSON.parse(text);
      if (said.op === 'auth') setTimeout(() => this.onmessage({data: '{"type":"welcome"}'}), 0);
      if (said.op === 'subscribe') this.wants = said;
    }
    close() { this.readyState = 3; }
  };
  window.burst = async () => {
    let n = 0;
    for (let turn = 0; turn < 20; turn++) {
      const events = Array.from({length: 5000}, () => {
        n += 1;
        const at = 1.7e18 + n;
        return {position: n, kind: 'trade', symbol: 'BTCUSDT', ts_event: at, ts_recv: at,
          price: n, size: 1, side: 'buy', flags: []};
      });
      const data = JSON.stringify({type: 'update', position: n, missed: 0, events});
      for (const fake of window.fakes) if (fake.readyState === 1) fake.onmessage({data});
      await new Promise(done => setTimeout(done, 0));
    }
    return n;
  };
}
"""


def test_a_burst_of_100_000_ticks_leaves_out_frames_and_never_lags(show: Open) -> None:
    def before(page: Page) -> None:
        page.add_init_script(f"({BURST})()")

    page = show("#/market/BTCUSDT", before=before)
    page.wait_for_selector(".watch-row")
    last = page.evaluate("window.burst()")
    assert last == 100_000
    # One frame later the newest is there: nothing waits in line.
    page.evaluate(
        "new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 120))"
    )
    assert page.locator(".head .price").inner_text() == "100,000.00"
    expect(page.get_by_label("Trades")).to_contain_text("newest only")


def hostile(told: Any) -> Any:
    """Return an answer in which every text that comes from outside carries a script."""
    if isinstance(told, dict):
        found = cast("dict[str, Any]", told)
        return {key: value if key in KEPT else hostile(value) for key, value in found.items()}
    if isinstance(told, list):
        return [hostile(each) for each in cast("list[Any]", told)]
    return told + HOSTILE if isinstance(told, str) else told


KEPT = {"scopes", "prefix", "kind", "date", "type", "timeframe", "op"}  # what the page chooses by, ours alone


def hostile_socket(socket: WebSocketRoute) -> None:
    server = socket.connect_to_server()
    server.on_message(lambda text: socket.send(json.dumps(hostile(json.loads(text)))))


def test_x21_scripts_in_every_field_stay_text(show: Open) -> None:
    def before(page: Page) -> None:
        page.route("**/api/v1/**", _hostile_answer)
        page.route_web_socket("**/api/v1/stream", hostile_socket)

    page = show(before=before, expect="status of 4")  # hostile symbols are refused when they are asked for
    for view in VIEWS:
        page.goto(page.url.partition("#")[0] + f"#/{view}")
        expect(page.get_by_text("<img src=x").first).to_be_visible()
        page.wait_for_timeout(600)
        assert page.evaluate("window.hurt") is None, view
        assert page.locator("img[onerror], #app script").count() == 0, view


def _hostile_answer(route: Route) -> None:
    answer = route.fetch()
    body = hostile(answer.json()) if "json" in answer.headers.get("content-type", "") else answer.text()
    route.fulfill(status=answer.status, content_type="application/json", body=json.dumps(body))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_on_any_view(show: Open, theme: str, width: int) -> None:
    if not AXE.is_file():
        pytest.skip("no axe-core: scripts/desk.sh dev")
    page = show(width=width, height=844, reduced_motion="reduce")  # no flash half way through
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    found: list[str] = []
    for view in VIEWS:
        page.goto(page.url.partition("#")[0] + f"#/{view}")
        page.wait_for_selector(f"a[aria-current=page]:has-text('{view.capitalize()}')")
        page.wait_for_timeout(1500)
        page.evaluate(AXE.read_text())
        told = page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice']})")
        found += [
            f"{view}: {each['id']}: {each['nodes'][0]['html'][:160]} {each['nodes'][0]['failureSummary'][:160]}"
            for each in told["violations"]
        ]
    assert found == [], "\n".join(found)


def test_all_views_together_transfer_less_than_250_kb(show: Open) -> None:
    sizes: list[float] = []

    def count(page: Page) -> None:
        def ended(request: Request) -> None:
            if "/api/" not in request.url:
                told = request.sizes()
                sizes.append(told["responseBodySize"] + told["responseHeadersSize"])

        page.on("requestfinished", ended)

    page = show(before=count)
    for view in VIEWS:
        page.goto(page.url.partition("#")[0] + f"#/{view}")
        page.wait_for_timeout(700)
    assert 50_000 < sum(sizes) < 250_000
