// The book as a ladder with heat by size, and the tape of trades. Both draw the newest state into rows that stay.
import { html, painter, put, useEffect, useRef, useState } from "../core.js";
import { clock, decimals, number, short } from "../format.js";

const LEVELS = 10, LINES = 60;

/** A book kept from snapshots and changes. */
export class Book {
  constructor() { this.clear(); }
  clear() { this.bids = new Map(); this.asks = new Map(); this.ts = null; this.synced = false; }
  take(event) {
    if (event.kind === "book_snapshot") {
      this.bids = new Map(event.bids); this.asks = new Map(event.asks);
      this.synced = event.synced !== false;
    } else if (event.update_id !== undefined && event.side) {
      if (event.flags?.includes("snapshot") && event.flags.includes("first")) { this.bids.clear(); this.asks.clear(); }
      const side = event.side === "bid" ? this.bids : this.asks;
      if (event.size) side.set(event.price, event.size); else side.delete(event.price);
      this.synced = true;
    } else return false;
    this.ts = event.ts_event ?? this.ts;
    return true;
  }
  top(many) {
    const best = (side, sign) => [...side].sort((a, b) => sign * (a[0] - b[0])).slice(0, many);
    return { bids: best(this.bids, -1), asks: best(this.asks, 1) };
  }
}

function makeLevels(place, kind, many) {
  place.replaceChildren();
  return Array.from({ length: many }, () => {
    const node = document.createElement("div"), heat = document.createElement("i"), price = document.createElement("span"), size = document.createElement("span");
    node.className = `lvl ${kind}`; heat.className = "heat"; price.className = "p"; size.className = "s";
    node.append(heat, price, size);
    place.append(node);
    return { node, heat, price, size };
  });
}

export function Ladder({ state, about }) {
  const asks = useRef(null), bids = useRef(null), middle = useRef(null);
  const [any, see] = useState(true);
  useEffect(() => {
    const up = makeLevels(asks.current, "ask", LEVELS), low = makeLevels(bids.current, "bid", LEVELS);
    const digits = decimals(about?.tick_size), sizes = Math.min(decimals(about?.size_step), 5);
    const fill = (mine, level, most, digitsOfSize) => {
      mine.node.style.visibility = level ? "" : "hidden";
      if (!level) return;
      put(mine.price, number(level[0], digits));
      put(mine.size, level[1] >= 1e5 ? short(level[1]) : number(level[1], digitsOfSize));
      mine.heat.style.transform = `scaleX(${Math.min(1, Math.sqrt(level[1] / most)).toFixed(3)})`;
      mine.node.classList.toggle("big", level[1] > most * .6);
    };
    const draw = () => {
      let { bids: b, asks: a } = state.book.top(LEVELS);
      const row = state.row;
      if (!b.length && !a.length && row.bid !== null) { b = [[row.bid, row.bidSize]]; a = [[row.ask, row.askSize]]; }
      const most = Math.max(...b.map((each) => each[1]), ...a.map((each) => each[1]), 1e-12);
      up.forEach((mine, i) => fill(mine, a[LEVELS - 1 - i], most, sizes));
      low.forEach((mine, i) => fill(mine, b[i], most, sizes));
      const has = b.length > 0 && a.length > 0;
      see(b.length + a.length > 0);
      if (!has) { put(middle.current, "one-sided"); return; }
      const spread = a[0][0] - b[0][0], all = [b, a].map((side) => side.reduce((sum, each) => sum + each[1], 0));
      put(middle.current, `spread ${number(spread, digits)}   ·   bids ${Math.round(all[0] / (all[0] + all[1]) * 100)} % of depth`);
    };
    const mine = painter(draw), stop = state.onChange(mine.touch);
    mine.touch();
    return () => { mine.stop(); stop(); };
  }, [state, about]);
  return html`<section class="panel ladder" aria-label="Order book"><header><h2>Book</h2><span class="right quiet">price, size</span></header>
    ${!any && html`<div class="empty">No quote or book yet</div>`}<div hidden=${!any}><div ref=${asks}></div><div class="spread" ref=${middle}></div><div ref=${bids}></div></div></section>`;
}

export function Prints({ state, about }) {
  const place = useRef(null), note = useRef(null);
  const [any, see] = useState(state.prints.length > 0);
  useEffect(() => {
    const make = (name, into) => { const made = document.createElement("span"); made.className = name; into.append(made); return made; };
    place.current.replaceChildren();
    const lines = Array.from({ length: LINES }, () => {
      const node = document.createElement("div");
      node.className = "print"; node.hidden = true;
      place.current.append(node);
      return { node, mark: make("m", node), price: make("p", node), size: make("s", node), time: make("t", node) };
    });
    const digits = decimals(about?.tick_size), sizes = Math.min(decimals(about?.size_step), 5);
    const draw = () => {
      const all = state.prints, seen = Math.min(LINES, Math.ceil(place.current.clientHeight / 19));
      see(all.length > 0);
      lines.forEach((mine, i) => {
        const trade = i < seen ? all[all.length - 1 - i] : null;
        mine.node.hidden = !trade;
        if (!trade) return;
        const side = trade.side || "";
        if (mine.side !== side) { mine.side = side; mine.node.className = `print ${side}`; put(mine.mark, side === "buy" ? "▲" : side === "sell" ? "▼" : "·"); mine.mark.title = side ? `${side}er crossed the spread` : "side not known"; mine.mark.className = side === "buy" ? "up" : "down"; }
        put(mine.price, number(trade.price, digits));
        put(mine.size, trade.size >= 1e5 ? short(trade.size) : number(trade.size, sizes));
        put(mine.time, clock(trade.ts_event));
      });
      put(note.current, state.busy ? `busy: newest only, ${short(state.missed)} not shown` : `${number(state.perSecond)} a second`);
    };
    const mine = painter(draw), stop = state.onChange(mine.touch);
    mine.touch();
    return () => { mine.stop(); stop(); };
  }, [state, about]);
  return html`<section class="panel prints" aria-label="Trades"><header><h2>Trades</h2><span class="right quiet" ref=${note}></span></header>
    ${!any && html`<div class="empty">No trade yet</div>`}<div class="lines" ref=${place}></div></section>`;
}
