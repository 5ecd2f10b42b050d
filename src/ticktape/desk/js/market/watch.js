// The watchlist: only rows in sight exist, and only those that changed are touched. 500 symbols cost what 20 cost.
import * as board from "../board.js";
import { SLICE_MS, html, painter, put, useEffect, useRef, useWatched } from "../core.js";
import { decimals, number } from "../format.js";
import { href } from "../route.js";
import { replaying } from "./playing.js";

const HIGH = 46, STALE_MS = 15_000;

function makeRow() {
  const node = document.createElement("a");
  node.className = "watch-row";
  const make = (tag, name, into) => { const made = document.createElement(tag); made.className = name; into.append(made); return made; };
  const left = make("span", "cut", node), name = make("b", "cut", left), about = make("small", "cut", left);
  const line = make("canvas", "", node), right = make("span", "num", node), price = make("b", "", right), change = make("small", "", right);
  line.setAttribute("aria-hidden", "true");
  return { node, name, about, line, right, price, change, symbol: "", version: -1, price0: null };
}

function drawLine(canvas, trail, base, style) {
  const ratio = devicePixelRatio || 1, wide = 46 * ratio, high = 24 * ratio;
  if (canvas.width !== wide) { canvas.width = wide; canvas.height = high; }
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, wide, high);
  if (trail.length < 2) return;
  let low = Infinity, top = -Infinity;
  for (const value of trail) { if (value < low) low = value; if (value > top) top = value; }
  const span = top - low || 1;
  context.beginPath();
  trail.forEach((value, i) => context[i ? "lineTo" : "moveTo"](i / (trail.length - 1) * wide, high - 3 - (value - low) / span * (high - 6)));
  context.lineWidth = 1.3 * ratio;
  context.strokeStyle = trail.at(-1) >= (base || trail[0]) ? style.up : style.down;
  context.stroke();
}

function age(mine, row, now) {
  const stale = row.recv !== null && now - row.recv / 1e6 > STALE_MS;
  if (mine.stale !== stale) { mine.stale = stale; mine.node.classList.toggle("stale", stale); }
}

// All trails get their next point at once: a few lines a frame, the others with one of the next.
const LINES_A_FRAME = 6, budget = { lines: 0 };

function fill(mine, row, now, style, flash) {
  const about = row.about, digits = decimals(about?.tick_size);
  put(mine.about, about ? `${about.asset_class} ${about.venue}` : "");
  put(mine.price, number(row.price ?? (row.bid !== null ? (row.bid + row.ask) / 2 : null), digits));
  const share = row.open && row.price !== null ? row.price / row.open - 1 : null;
  const rising = share !== null && share >= 0;
  put(mine.change, share === null || Number.isNaN(share) ? "–" : `${rising ? "▲" : "▼"} ${number(Math.abs(share) * 100, 2)} %`);
  mine.change.className = share === null || Number.isNaN(share) ? "" : rising ? "up" : "down";
  if (flash && mine.price0 !== null && row.price !== mine.price0 && row.turn) {
    mine.right.classList.remove("flash-up", "flash-down");
    void mine.change.offsetLeft; // begins the animation anew
    mine.right.classList.add(row.turn > 0 ? "flash-up" : "flash-down");
  }
  mine.price0 = row.price;
  age(mine, row, now);
  const line = `${row.trailed} ${row.trail.length} ${row.open} ${style.up}`; // a point every two seconds: not each tick draws it anew
  if (mine.drawn !== line && budget.lines-- > 0) { mine.drawn = line; drawLine(mine.line, row.trail, row.open, style); }
  mine.version = row.version;
}

export function Watch({ current, timeframe }) {
  const all = useWatched(board.symbols), box = useRef(null), state = useRef({ pool: [], from: -1 });
  useEffect(() => {
    const place = box.current, own = state.current, inner = place.firstElementChild;
    inner.style.height = `${all.length * HIGH}px`;
    let busy = 0, lastFlash = 0, checked = 0;
    const styles = () => { const found = getComputedStyle(document.documentElement); return { up: found.getPropertyValue("--up"), down: found.getPropertyValue("--down") }; };
    let style = styles();
    const draw = (now) => {
      const wall = Date.now(), began = performance.now();
      if (now - checked > 2000) { style = styles(); checked = now; }
      const first = Math.max(0, Math.floor(place.scrollTop / HIGH) - 2), many = Math.min(all.length - first, Math.ceil(place.clientHeight / HIGH) + 5);
      while (own.pool.length < many) { const made = makeRow(); own.pool.push(made); inner.append(made.node); }
      const flash = busy < 12; // many changes at once: no animation, only the newest
      busy = 0;
      let late = false;
      budget.lines = LINES_A_FRAME;
      own.pool.forEach((mine, i) => {
        const about = all[first + i];
        mine.node.hidden = i >= many || !about;
        if (mine.node.hidden) { mine.symbol = ""; return; }
        const row = board.rowOf(about.symbol), moved = mine.symbol !== about.symbol, here = about.symbol === own.current;
        if (moved) {
          mine.symbol = about.symbol; mine.version = -1; mine.price0 = null; mine.drawn = "";
          put(mine.name, about.symbol);
          mine.node.title = about.symbol;
          mine.node.href = href("market", about.symbol, own.timeframe ? { tf: own.timeframe } : {});
          mine.node.style.transform = `translateY(${(first + i) * HIGH}px)`;
        }
        if ((mine.node.getAttribute("aria-current") === "true") !== here) here ? mine.node.setAttribute("aria-current", "true") : mine.node.removeAttribute("aria-current");
        if (row.open === null) board.openOf(about.symbol);
        if (row.version !== mine.version && performance.now() - began > SLICE_MS) { late = true; return; }
        if (row.version !== mine.version) { busy += 1; fill(mine, row, wall, style, flash && !moved && wall - lastFlash > 80); }
      });
      lastFlash = wall;
      if (late) own.again(); // those not reached, with one of the next frames
      own.took = performance.now() - began;
    };
    own.current = current; own.timeframe = timeframe;
    own.pool.forEach((mine) => { mine.symbol = ""; });
    const mine = painter(draw), stop = board.onChange(mine.touch);
    own.again = mine.touch;
    place.addEventListener("scroll", mine.touch, { passive: true });
    const slow = setInterval(() => { for (const each of own.pool) if (each.symbol) age(each, board.rowOf(each.symbol), Date.now()); }, 3000); // it comes by itself
    mine.touch();
    return () => { mine.stop(); stop(); clearInterval(slow); place.removeEventListener("scroll", mine.touch); };
  }, [all, current, timeframe]);
  return html`<nav class="panel watch" aria-label="Watchlist"><header><h2>Watchlist</h2><span class="quiet right">${useWatched(replaying) ? "live, not replayed" : number(all.length)}</span></header>
    <div class="watch-list" ref=${box}><div></div></div></nav>`;
}
