// The market: watchlist, candles, book and trades of one symbol, now or played again from any moment.
import { ask, may } from "../api.js";
import * as board from "../board.js";
import { html, painter, put, toast, useEffect, useMemo, useRef, useState, useWatched } from "../core.js";
import { clock, decimals, full, localInput, number, percent, useVenueOf, zone } from "../format.js";
import { adjust, go, route } from "../route.js";
import { Empty, Tabs } from "../ui.js";
import { Ladder, Prints } from "./book.js";
import { Chart, TIMEFRAMES, secondsOf } from "./chart.js";
import { Live, Played } from "./feed.js";
import { replaying } from "./playing.js";
import { Watch } from "./watch.js";

const BARS = 500, OLDER = 400, SPEEDS = [["0.5", "half speed"], ["1", "as it was"], ["5", "5 times"], ["20", "20 times"], ["100", "100 times"], ["max", "flat out"]];

export function Market() {
  const { arg, query } = useWatched(route), all = useWatched(board.symbols);
  const symbol = arg || all[0]?.symbol || "", timeframe = secondsOf[query.tf] ? query.tf : "1m";
  const about = useMemo(() => all.find((each) => each.symbol === symbol), [all, symbol]);
  useVenueOf(about?.calendar);
  useEffect(() => { if (!arg && symbol) history.replaceState(null, "", `#/market/${encodeURIComponent(symbol)}?tf=${timeframe}`); }, [arg, symbol]);
  const feed = useFeed(symbol, timeframe, query);
  useKeys(all, symbol, timeframe);
  if (!symbol) return html`<${Empty} title="No symbol yet" hint="The market shows here with the first tick that is recorded." command="ticktape up" />`;
  if (all.length && !about) return html`<${Empty} title=${`There is no ${symbol.slice(0, 40)} here`} hint="It is not recorded, or this key may not read it."><button onClick=${() => go("market", all[0].symbol, query)}>Show ${all[0].symbol}</button></${Empty}>`;
  return html`<div class="market"><${Watch} current=${symbol} timeframe=${timeframe} />
    ${feed && html`<${Head} feed=${feed} about=${about} all=${all} timeframe=${timeframe} /><${Plot} feed=${feed} about=${about} timeframe=${timeframe} query=${query} />
    <div class="book"><${Ladder} state=${feed} about=${about} /><${Prints} state=${feed} about=${about} /></div>`}</div>`;
}

function useFeed(symbol, timeframe, query) {
  const [feed, set] = useState(null), from = Number(query.from) || 0, speed = query.speed || "1";
  useEffect(() => {
    if (!symbol || !may("stream")) return undefined;
    const made = from ? new Played(symbol, timeframe, from, speed === "max" ? "max" : Number(speed) || 1) : new Live(symbol, timeframe);
    replaying.set(from ? { symbol, from } : null);
    document.documentElement.classList.toggle("replaying", Boolean(from));
    set(made);
    return () => { made.end(); replaying.set(null); document.documentElement.classList.remove("replaying"); };
  }, [symbol, timeframe, from]);
  return feed && feed.symbol === symbol ? feed : null;
}

function useKeys(all, symbol, timeframe) {
  useEffect(() => {
    const hear = (event) => {
      if (/^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
      const step = { "[": -1, "]": 1 }[event.key], at = all.findIndex((each) => each.symbol === symbol);
      if (step && all.length) go("market", all[(at + step + all.length) % all.length].symbol, { tf: timeframe });
      const picked = TIMEFRAMES[Number(event.key) - 1];
      if (picked) adjust({ tf: picked[0] });
    };
    addEventListener("keydown", hear);
    return () => removeEventListener("keydown", hear);
  }, [all, symbol, timeframe]);
}

function Head({ feed, about, all, timeframe }) {
  const refs = { price: useRef(null), change: useRef(null), bid: useRef(null), ask: useRef(null), range: useRef(null), age: useRef(null) };
  useEffect(() => {
    const digits = decimals(about?.tick_size), row = feed.row, p = (value) => number(value, digits);
    const draw = () => {
      const last = row.price ?? (row.bid !== null ? (row.bid + row.ask) / 2 : null), share = row.open && last !== null ? last / row.open - 1 : null;
      put(refs.price.current, p(last));
      refs.price.current.className = `price ${row.turn > 0 ? "up" : row.turn < 0 ? "down" : ""}`;
      put(refs.change.current, share === null || Number.isNaN(share) ? "–" : percent(share));
      refs.change.current.className = share >= 0 ? "up" : "down";
      put(refs.bid.current, p(row.bid)); put(refs.ask.current, p(row.ask));
      put(refs.range.current, row.high == null ? "–" : `${p(row.low)} – ${p(row.high)}`);
      put(refs.age.current, row.recv === null ? "none yet" : clock(row.ts));
    };
    const mine = painter(draw), stops = [feed.onChange(mine.touch), feed instanceof Live ? board.onChange(mine.touch) : () => {}];
    mine.touch();
    return () => { mine.stop(); stops.forEach((stop) => stop()); };
  }, [feed, about]);
  const stat = (name, ref, extra = "") => html`<div class=${`stat ${extra}`}><small>${name}</small><span ref=${ref}></span></div>`;
  return html`<section class="panel head" aria-label="Quote"><h2 class="cut" title=${feed.symbol}>${feed.symbol}</h2>
    <select class="pick" aria-label="Symbol" onChange=${(event) => go("market", event.target.value, { tf: timeframe })}>${all.map((each) => html`<option key=${each.symbol} value=${each.symbol} selected=${each.symbol === feed.symbol}>${each.symbol}</option>`)}</select>
    <span class="price" ref=${refs.price}></span><span ref=${refs.change}></span>${stat("Bid", refs.bid)}${stat("Ask", refs.ask)}${stat("Day's range", refs.range, "extra")}${stat("Last tick", refs.age, "extra roomy")}
    ${about && html`<div class="stat extra roomy"><small>Trades by</small><span>${about.calendar}</span></div>`}</section>`;
}

function Plot({ feed, about, timeframe, query }) {
  const place = useRef(null), legend = useRef(null), chart = useRef(null);
  const [error, fail] = useState(null), [any, see] = useState(true);
  const where = useWatched(zone), played = feed instanceof Played, sample = useWatched(board.status)?.data?.sample;
  useEffect(() => {
    let over = false, mine = null, busy = false, dry = false;
    const symbol = encodeURIComponent(feed.symbol);
    const older = async (first) => {
      if (busy || dry || over) return;
      busy = true;
      try {
        const from = (first - OLDER * secondsOf[timeframe]) * 1e9;
        const told = await ask(`/bars/${symbol}?interval=${timeframe}&start_time=${Math.max(0, from)}&end_time=${first * 1e9}&limit=${OLDER}`);
        if (over) return;
        dry = !told.bars.length;
        if (!dry) mine.add(told.bars);
      } catch (failed) { dry = true; if (failed.status !== 403) toast(`Older bars: ${failed.message}`, "bad"); }
      finally { busy = false; }
    };
    const load = async () => {
      const [library, told] = await Promise.all([import("../../lib/lightweight-charts.js"), initial(symbol, timeframe, feed, played)]);
      if (over) return;
      mine = chart.current = new Chart(library, place.current, { onLegend: (said) => showLegend(legend.current, said), onOlder: older });
      mine.instrument(about?.tick_size);
      see(told.length > 0);
      mine.reset(told);
      const stops = [feed.onBar((bar) => { see(true); waiting.set(bar.start, bar); late.touch(); }), feed.onChange(() => late.touch())];
      stop = () => stops.forEach((each) => each());
      shade(mine, symbol, about, () => over);
    };
    const waiting = new Map(); // the newest of each bar; drawn with the next frame
    const late = painter(() => {
      for (const bar of waiting.values()) mine?.update(bar);
      waiting.clear();
      const trade = feed.prints.at(-1);
      if (trade) mine?.touch(trade.price, trade.ts_event, secondsOf[timeframe]);
    });
    let stop = () => {};
    load().catch((failed) => { if (!over) fail(failed); });
    const look = new MutationObserver(() => mine?.restyle());
    look.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => { over = true; stop(); late.stop(); look.disconnect(); mine?.remove(); chart.current = null; fail(null); };
  }, [feed, about?.instrument_id, where]);
  return html`<section class="panel chart" aria-label=${`Candles of ${feed.symbol}, ${timeframe}`}>
    <header><${Tabs} of=${TIMEFRAMES.map(([name]) => [name, name])} value=${timeframe} onPick=${(name) => adjust({ tf: name })} label="Timeframe" /><${Play} feed=${feed} query=${query} /></header>
    ${played && html`<${Controls} feed=${feed} query=${query} />`}
    <div class="plot"><div class="plot-legend" ref=${legend}></div>${(played || sample) && html`<div class=${`plot-mark ${played ? "replay" : ""}`} aria-hidden="true">${played ? "REPLAY" : "SAMPLE"}</div>`}
      <div class="canvas" ref=${place}></div>${error ? html`<${Empty} title=${error.status === 403 ? "This key may not read bars" : error.message} hint=${error.hint} />` : !any && html`<div class="empty plot-legend">No trade in these hours yet: the first one opens a bar</div>`}</div></section>`;
}

/** What stands on the chart before the first update: the latest bars, or those before the moment that is played. */
async function initial(symbol, timeframe, feed, played) {
  if (!may("history")) return [];
  if (!played) return (await ask(`/ohlc/${symbol}?timeframe=${timeframe}&limit=${BARS}`)).bars;
  const end = Math.floor(feed.state.value.at / 1e9 / secondsOf[timeframe]) * secondsOf[timeframe];
  return (await ask(`/bars/${symbol}?interval=${timeframe}&start_time=${(end - 300 * secondsOf[timeframe]) * 1e9}&end_time=${end * 1e9}&limit=300`)).bars;
}

async function shade(chart, symbol, about, over) {
  if (!about || about.calendar === "24/7" || !chart.order.length) return;
  const from = chart.order[0] * 1e9, to = (chart.order.at(-1) + 7 * 86400) * 1e9;
  try {
    const told = await ask(`/sessions/${symbol}?start_time=${from}&end_time=${to}`);
    if (over()) return;
    chart.sessions = told.sessions;
    chart.notes(); chart.average();
  } catch { /* unshaded: nothing on the chart depends on it */ }
}

function showLegend(place, said) {
  if (!place) return;
  if (!said) { place.replaceChildren(); return; }
  const parts = [["", said.when], ["O", said.o], ["H", said.h], ["L", said.l], ["C", said.c], ["Vol", said.v], ["VWAP", said.w], ...(said.gap ? [["", "gap"]] : []), ...(said.forming ? [["", "forming"]] : [])];
  while (place.children.length < parts.length) { const made = document.createElement("span"); made.append(document.createElement("span"), document.createElement("b")); place.append(made); }
  while (place.children.length > parts.length) place.lastChild.remove();
  parts.forEach(([name, value], i) => {
    const [left, right] = place.children[i].children;
    put(left, name ? `${name} ` : ""); put(right, value);
    left.className = "quiet"; right.className = value === "gap" ? "warn" : name && "OHLC".includes(name) ? (said.up ? "up" : "down") : "";
  });
}

function Play({ feed, query }) {
  const [at, pick] = useState(() => localInput(Date.now() - 120_000)), [shown, show] = useState(false);
  if (feed instanceof Played) return html`<button class="small main" onClick=${() => adjust({ from: "", speed: "" })}>Back to live</button>`;
  const begin = (event) => { event.preventDefault(); const from = new Date(at).getTime(); if (Number.isFinite(from)) adjust({ from, speed: "1", tf: query.tf || "1m" }); };
  if (!shown) return html`<button class="small" title="Show this page as it was from a moment on" onClick=${() => show(true)}>Replay</button>`;
  return html`<form class="row wrap" onSubmit=${begin}><label for="moment">Play again from</label><input id="moment" type="datetime-local" step="1" required value=${at} onInput=${(event) => pick(event.target.value)} /><button class="small main">▶ Play</button><button type="button" class="small bare" onClick=${() => show(false)}>Cancel</button></form>`;
}

function Controls({ feed, query }) {
  const state = useWatched(feed.state);
  const change = (speed) => { feed.speed(speed === "max" ? "max" : Number(speed)); adjust({ speed }); };
  return html`<div class="player" role="group" aria-label="Replay"><span class="tag world replay">REPLAY</span><strong class="mono">${full(state.at)}</strong>
    <button class="small" onClick=${() => feed.pause(!state.paused)}>${state.paused ? "▶ Play" : "❚❚ Pause"}</button><button class="small" onClick=${() => feed.step()}>Step</button>
    <select aria-label="Speed" value=${query.speed || "1"} onChange=${(event) => change(event.target.value)}>${SPEEDS.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}</select>
    ${state.over && html`<span>played up to now</span>`}${state.error && html`<span class="down">${state.error}</span>`}</div>`;
}
