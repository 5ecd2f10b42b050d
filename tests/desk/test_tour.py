"""What a person does on the desk, done by Chromium against real processes on the simulated venue."""

from __future__ import annotations

import re

import pytest
from desk_support import WAIT_MS, Desk, Open
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.timeout(240)
expect.set_options(timeout=WAIT_MS)


def test_the_printed_link_signs_in_once_and_leaves_no_trace_in_the_address(desk: Desk, show: Open) -> None:
    page = show(desk.link.removeprefix(f"{desk.base}/"), key="")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    assert "k=" not in page.url
    assert page.evaluate("localStorage.length") == 0, "the key is the tab's alone"
    again = show(desk.link.removeprefix(f"{desk.base}/"), key="", expect="401")
    expect(again.get_by_role("alert")).to_contain_text("used before")


def test_a_key_signs_in_and_a_wrong_one_does_not(desk: Desk, show: Open) -> None:
    page = show("", key="", expect="401")
    page.get_by_label("API key").fill("tt_nothing_at_all")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not a key of this server")
    page.get_by_label("API key").fill(desk.key)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Feed sample")).to_contain_text("up")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()


def test_sample_is_marked_on_every_view(show: Open) -> None:
    page = show()
    for view in ("overview", "market", "data", "query", "keys", "samples"):
        page.goto(page.url.partition("#")[0] + f"#/{view}")
        expect(page.get_by_role("heading", name=view.capitalize(), exact=True).first).to_be_visible()
        expect(page.get_by_text("SAMPLE", exact=True).first).to_be_visible()


def _price(page: Page) -> str:
    return page.locator(".head .price").inner_text()


def test_ticks_move_and_symbol_and_timeframe_change_by_keyboard(show: Open) -> None:
    page = show("#/market/BTCUSDT?tf=1m")
    expect(page.locator(".head .price")).to_have_text(re.compile(r"\d"))
    first = _price(page)
    page.wait_for_function("first => document.querySelector('.head .price').textContent !== first", arg=first)
    page.wait_for_selector(".print:not([hidden])")
    page.wait_for_selector(".lvl.bid:visible")
    expect(page.locator(".plot-legend")).to_contain_text("VWAP")
    page.keyboard.press("1")
    expect(page.get_by_role("button", name="1s")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("/")
    page.keyboard.type("mnq")
    page.keyboard.press("Enter")
    expect(page.locator(".head h2")).to_have_text("MNQ")
    assert page.url.endswith("#/market/MNQ?tf=1s"), "the address holds the state"
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", name="Data", exact=True)).to_be_visible()
    page.go_back()
    expect(page.locator(".head h2")).to_have_text("MNQ")


def test_a_feed_is_restarted_and_comes_back(desk: Desk, show: Open) -> None:
    page = show()
    feed = page.get_by_label("Feed sample")
    feed.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(feed).to_contain_text("paused")
    feed.get_by_role("button", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(feed).to_contain_text("up since")
    before = desk.ask("/sources")["sources"][0]["since"]
    feed.get_by_role("button", name="Restart").click()
    page.get_by_role("dialog").get_by_role("button", name="Restart").click()
    expect(page.get_by_text("sample: restarted")).to_be_visible()
    expect(feed).to_contain_text("up since")
    assert desk.ask("/sources")["sources"][0]["since"] > before


def test_a_gap_appears_and_fills(desk: Desk, show: Open) -> None:
    page = show("#/data?symbol=BTCUSDT")
    rows = page.get_by_label("Gaps, newest first").get_by_role("row")
    page.wait_for_selector("text=Certificates by symbol")
    filled = len([g for g in desk.ask("/gaps?symbol=BTCUSDT&state=filled")["gaps"] if g["channel"] == "trade"])
    desk.fault({"fault": "drop", "symbol": "BTCUSDT", "channel": "trade", "count": 5})
    page.get_by_role("button", name="Filled").click()
    expect(rows.filter(has_text="trade").filter(has_text="filled").nth(filled)).to_be_visible(timeout=60_000)


def test_a_minute_is_played_again_unmistakably(show: Open) -> None:
    # The past is asked for by all of these tests with one key: when it is busy the page asks again.
    page = show("#/market/BTCUSDT?tf=1s", expect="429")
    page.wait_for_selector(".print:not([hidden])")
    page.get_by_role("button", name="Replay").click()
    page.get_by_role("button", name="▶ Play").click()
    expect(page.get_by_role("group", name="Replay")).to_contain_text("REPLAY")
    expect(page.locator(".plot-mark")).to_have_text("REPLAY")
    expect(page.locator(".top")).to_contain_text("REPLAY")
    page.get_by_label("Speed").select_option("100")
    expect(page.get_by_text("played up to now")).to_be_visible(timeout=90_000)
    page.get_by_role("button", name="Back to live").click()
    expect(page.locator(".plot-mark")).to_have_text("SAMPLE")


def test_a_statement_is_run_shown_as_grid_and_chart_and_taken_as_csv(show: Open) -> None:
    page = show("#/query")
    page.get_by_label("SQL", exact=True).fill("SELECT i AS a, i * i AS square FROM range(5) t(i)")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("Rows", exact=True).get_by_role("row")).to_have_count(6)
    page.get_by_role("button", name="Chart").click()
    page.wait_for_selector(".u-over")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert download.value.path().read_text().splitlines()[:2] == ["a,square", "0,0"]


def test_a_fault_in_a_statement_is_said_in_place(show: Open) -> None:
    page = show("#/query", expect="422")
    page.get_by_label("SQL", exact=True).fill("SELEC 1")
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("alert")).to_contain_text("syntax error")


def test_a_key_is_made_shown_once_and_revoked(desk: Desk, show: Open) -> None:
    page = show("#/keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name, for you to know it by").fill("robot")
    page.get_by_role("button", name="Create").click()
    made = page.get_by_role("dialog").locator("code").inner_text()
    assert desk.ask("/keys/self", key=made)["name"] == "robot"
    page.get_by_role("button", name="I have it").click()
    row = page.get_by_role("row").filter(has_text="robot")
    assert made not in page.content()
    row.get_by_role("button", name="History").click()
    expect(page.get_by_label("Requests")).to_contain_text("/keys/self")
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)


def test_raw_ticks_are_shown_filtered_and_copied_as_a_command(show: Open) -> None:
    page = show("#/samples?symbol=ETHUSDT")
    page.wait_for_selector("td:has-text('buy')")
    page.get_by_label("Has in it").fill('"side":"sell"')
    expect(page.locator("td:has-text('buy')")).to_have_count(0)
    expect(page.get_by_label("Command")).to_contain_text("curl")
    page.get_by_role("button", name="Python").click()
    expect(page.get_by_label("Command")).to_contain_text("urllib.request")
