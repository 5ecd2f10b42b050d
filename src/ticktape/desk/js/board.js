// What is known now: the newest of every symbol, how everything is, and the stream that keeps it so.
import { ask, leave, session } from "./api.js";
import { recall, toast, watched } from "./core.js";
import { Stream } from "./stream.js";

export const rows = new Map(); // symbol -> Row; read by painters, never copied
export const symbols = watched([]); // instruments as REST lists them
export const status = watched(null); // {data, at, error}
export const feeds = watched(null);
export const alerts = watched(null);
export const link = watched({ name: "connecting", since: Date.now() });
export const rates = new Map(); // source -> rates of the last two minutes, one a second
const listeners = new Set(); // (type, message) of the stream
const changed = new Set(); // () => void, told once a message

let stream = null, timers = [], focus = null, mostPerSecond = 10, lateBy = 0;

export function listen(hear) { listeners.add(hear); return () => listeners.delete(hear); }
export function onChange(tell) { changed.add(tell); return () => changed.delete(tell); }

export function rowOf(symbol) {
  let row = rows.get(symbol);
  if (!row) {
    row = { symbol, price: null, size: null, side: null, bid: null, ask: null, bidSize: null, askSize: null, ts: null, recv: null, turn: 0, open: null, high: null, low: null, volume: null, trail: [], trailed: 0, version: 0 };
    rows.set(symbol, row);
  }
  return row;
}

/** Put one event where the newest of its symbol is. Older than what is there: left out. */
export function apply(event, into = rowOf(event.symbol)) {
  if (event.kind === "quote") {
    into.bid = event.bid_price; into.ask = event.ask_price; into.bidSize = event.bid_size; into.askSize = event.ask_size;
  } else if (event.kind === "trade" || event.kind === "agg_trade") {
    if (event.price == null) return;
    if (into.price !== null && event.price !== into.price) into.turn = event.price > into.price ? 1 : -1;
    into.price = event.price; into.size = event.size; into.side = event.side;
    if (into.high !== null) { into.high = Math.max(into.high, event.price); into.low = Math.min(into.low, event.price); }
    const second = event.ts_recv / 2e9 | 0;
    if (second !== into.trailed) { into.trailed = second; into.trail.push(event.price); if (into.trail.length > 90) into.trail.shift(); }
    else into.trail[into.trail.length - 1] = event.price;
  } else return;
  into.ts = event.ts_event; into.recv = event.ts_recv; into.version += 1;
}

function hear(type, message) {
  if (message.events) {
    for (const event of message.events) if (event.symbol) apply(event);
    for (const tell of changed) tell();
  }
  if (type === "error" && message.error.code === "bad_key") leave("This key is no longer good. Sign in again.");
  for (const each of listeners) each(type, message);
}

const wide = () => ({ op: "subscribe", id: "all", channels: ["trades", "quotes"], symbols: ["*"], policy: "conflate", rate: mostPerSecond });
const near = (want) => ({ op: "subscribe", id: "near", channels: want.channels, symbols: [want.symbol] });
const around = () => ({ op: "subscribe", id: "around", channels: ["gaps", "status", "alerts"], symbols: ["*"] });

/** Ask the stream for more of one symbol (its book and bars), instead of the one before. null: of none. */
export function focusOn(want) {
  const key = want && want.symbol + want.channels;
  if (key === (focus && focus.symbol + focus.channels)) return;
  if (focus) stream?.send({ op: "unsubscribe", channels: focus.channels, symbols: [focus.symbol] });
  focus = want;
  if (want) stream?.send(near(want));
}

export function reconnect() { stream?.again(); poll.now(); }

async function once(into, path) {
  try { into.set({ data: await ask(path), at: Date.now(), error: null }); }
  catch (error) { into.set({ ...(into.value || { data: null, at: 0 }), error }); }
}
const poll = {
  now: async () => {
    await once(status, "/status");
    for (const source of status.value?.data?.sources || []) {
      const kept = rates.get(source.name) || rates.set(source.name, []).get(source.name);
      kept.push(source.per_s);
      if (kept.length > 120) kept.shift();
    }
  },
};
async function listSymbols() {
  try {
    const told = (await ask("/instruments")).instruments;
    for (const each of told) rowOf(each.symbol).about = each;
    if (told.length !== symbols.value.length || told.some((each, i) => each.symbol !== symbols.value[i].symbol)) symbols.set(told);
  } catch (error) { if (error.status !== 503 && error.status !== 0) toast(error.message, "bad"); }
}
function every(ms, run) {
  const turn = async () => { if (!document.hidden) await run(); timers.push(setTimeout(turn, ms)); if (timers.length > 60) timers.splice(0, 40); };
  turn();
}

/** Follow everything while somebody is signed in. */
export function follow() {
  mostPerSecond = recall("ticktape.rate", 10);
  stream = new Stream(() => [wide(), around(), ...(focus ? [near(focus)] : [])], hear);
  stream.state.watch((state) => link.set(state));
  link.set(stream.state.value);
  every(1000, poll.now);
  every(2000, () => once(feeds, "/pipeline/feed-health"));
  every(3000, () => once(alerts, "/pipeline/alerts?limit=50"));
  every(15_000, listSymbols);
}
export function forget() {
  stream?.end(); stream = null; focus = null;
  timers.forEach(clearTimeout); timers = [];
  rows.clear(); rates.clear(); symbols.set([]); status.set(null); feeds.set(null); alerts.set(null);
}

/** What the day opened at, for the change in the watchlist: a few at a time, the seen ones first. */
const asking = new Set();
export async function openOf(symbol) {
  const row = rowOf(symbol);
  if (row.open !== null || asking.has(symbol) || asking.size > 2 || !session.value?.who.scopes.includes("history")) return;
  asking.add(symbol);
  try {
    const [daily, minutes] = await Promise.all([ask(`/ohlc/${encodeURIComponent(symbol)}?timeframe=1d&limit=1`), ask(`/ohlc/${encodeURIComponent(symbol)}?timeframe=1m&limit=60`)]);
    const bar = daily.bars.at(-1);
    row.open = bar ? bar.open : NaN; row.high = bar?.high ?? null; row.low = bar?.low ?? null; row.volume = bar?.volume ?? null;
    row.trail = [...minutes.bars.map((each) => each.close), ...row.trail].slice(-90);
    row.version += 1;
    for (const tell of changed) tell();
  } catch { row.open = NaN; /* not for this key, or not there: the cell stays a dash */ }
  finally { asking.delete(symbol); }
}

/** The one word for the whole: good, iffy or bad, and why. */
export function health(now, feed, state) {
  if (state.name === "closed") return ["bad", "disconnected"];
  if (!now) return ["", "connecting"];
  if (now.error && now.error.status === 0) return ["bad", "disconnected"];
  if (now.error && !now.data) return now.error.status === 503 ? ["iffy", "no tape yet"] : ["bad", now.error.message];
  if (now.data.recorder.status !== "up") return ["bad", `recorder ${now.data.recorder.status}`];
  const ill = (feed?.data?.feeds || []).filter((each) => !each.healthy && each.status !== "stopped");
  if (ill.length) return ["bad", ill.length === 1 ? `${ill[0].name} ${ill[0].alerts.includes("feed_stale") ? "stale" : ill[0].status}` : `${ill.length} feeds need a look`];
  const stopped = now.data.sources.filter((each) => each.status === "stopped").length;
  if (stopped) return ["iffy", stopped === 1 ? "one feed paused" : `${stopped} feeds paused`];
  return now.data.ok ? ["good", "all feeds healthy"] : ["iffy", now.data.problems.length === 1 ? "one thing to look at" : `${now.data.problems.length} things to look at`];
}
