// One symbol, live or played again: its bars, book and trades. The market view draws from it and knows no difference.
import * as board from "../board.js";
import { watched } from "../core.js";
import { Stream } from "../stream.js";
import { Book } from "./book.js";

const KEPT = 120, BUSY_PER_S = 1500, CALM_PER_S = 400, CALM_S = 8;

class Feed {
  constructor(symbol, row) {
    this.symbol = symbol; this.row = row;
    this.book = new Book(); this.prints = []; this.perSecond = 0; this.busy = false; this.missed = 0;
    this.told = new Set(); this.barsTold = new Set(); this.ended = false;
  }
  onChange(tell) { this.told.add(tell); return () => this.told.delete(tell); }
  onBar(tell) { this.barsTold.add(tell); return () => this.barsTold.delete(tell); }
  changed() { for (const tell of this.told) tell(); }
  print(event) {
    if (event.price == null) return;
    this.prints.push(event);
    if (this.prints.length > KEPT * 2) this.prints = this.prints.slice(-KEPT);
  }
  end() { this.ended = true; this.told.clear(); this.barsTold.clear(); }
}

/** The symbol now. The book and bars come with the board's socket, each trade by one of its own. */
export class Live extends Feed {
  constructor(symbol, timeframe) {
    super(symbol, board.rowOf(symbol));
    this.timeframe = timeframe;
    board.focusOn({ symbol, channels: ["book", `bars.${timeframe}`] });
    this.stop = board.listen((type, message) => this.take(type, message));
    this.counted = 0; this.calm = 0;
    this.trades = this.open();
    this.timer = setInterval(() => this.second(), 1000);
  }
  open() {
    const policy = this.busy ? { policy: "conflate", rate: 20 } : { policy: "every", rate: 10 };
    return new Stream(() => [{ op: "subscribe", channels: ["trades"], symbols: [this.symbol], ...policy }], (type, message) => this.heardTrades(type, message));
  }
  heardTrades(type, message) {
    if (!message.events) return;
    this.counted += message.events.length + (message.missed || 0);
    this.missed += message.missed || 0;
    const events = message.events.length > KEPT ? message.events.slice(-KEPT) : message.events;
    for (const event of events) this.print(event);
    if (this.counted > BUSY_PER_S && !this.busy) this.pace(true);
    this.changed();
  }
  /** A burst: only the newest trades from here on, so that this page never shows what is over. Calm again: each one. */
  pace(busy) { this.busy = busy; this.calm = 0; this.missed = 0; this.trades.end(); this.trades = this.open(); }
  second() {
    this.perSecond = this.counted;
    this.calm = this.counted < CALM_PER_S ? this.calm + 1 : 0;
    this.counted = 0;
    if (this.busy && this.calm >= CALM_S) this.pace(false);
    this.changed();
  }
  take(type, message) {
    if (!message.events) return;
    let any = false;
    for (const event of message.events) {
      if (event.symbol !== this.symbol) continue;
      any = true;
      if (event.kind === "bar") { if (event.timeframe === this.timeframe) for (const tell of this.barsTold) tell(event); }
      else this.book.take(event);
    }
    if (any) this.changed();
  }
  end() { super.end(); this.stop(); this.trades.end(); clearInterval(this.timer); board.focusOn(null); }
}

/** The symbol as it was from a moment on, at any speed. */
export class Played extends Feed {
  constructor(symbol, timeframe, from, speed) {
    super(symbol, { ...board.rowOf(symbol), price: null, bid: null, ask: null, trail: [], high: null, low: null, ts: null, recv: null });
    this.timeframe = timeframe; this.state = watched({ at: from * 1e6, paused: false, over: false, error: "" });
    const begin = { op: "subscribe", channels: ["trades", "quotes", "book", `bars.${timeframe}`], symbols: [symbol], from: new Date(from).toISOString(), speed, throttle: 0 };
    let begun = false;
    this.stream = new Stream(() => {
      const at = this.state.value.at; // after a break it goes on where it was
      const next = begun ? { ...begin, from: new Date(at / 1e6).toISOString() } : begin;
      begun = true;
      return [next];
    }, (type, message) => this.take(type, message));
    this.counted = 0;
    this.timer = setInterval(() => { this.perSecond = this.counted; this.counted = 0; this.changed(); }, 1000);
  }
  say(change) { this.state.set({ ...this.state.value, ...change }); }
  take(type, message) {
    if (type === "end") this.say({ over: true });
    if (type === "error") this.say({ error: message.error.message });
    if (!message.events) return;
    let at = this.state.value.at;
    for (const event of message.events) {
      if (event.kind === "bar") { for (const tell of this.barsTold) tell(event); continue; }
      if (event.kind === "trade" || event.kind === "agg_trade") { this.print(event); this.counted += 1; }
      if (!this.book.take(event)) board.apply(event, this.row);
      if (event.ts_recv > at) at = event.ts_recv;
    }
    this.say({ at });
    this.changed();
  }
  pause(on) { this.stream.send({ op: on ? "pause" : "resume" }); this.say({ paused: on }); }
  speed(speed) { this.stream.send({ op: "speed", speed }); }
  step() { this.stream.send({ op: "step", events: 50 }); this.say({ paused: true }); }
  end() { super.end(); this.stream.end(); clearInterval(this.timer); }
}
