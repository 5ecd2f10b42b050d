// Candles, volume and VWAP by lightweight-charts; sessions, gaps and the legend are ours.
import { clock, day, decimals, minute, number, short } from "../format.js";

export const TIMEFRAMES = [["1s", 1], ["1m", 60], ["5m", 300], ["15m", 900], ["1h", 3600], ["4h", 14400], ["1d", 86400]];
export const secondsOf = Object.fromEntries(TIMEFRAMES);

function palette() {
  const style = getComputedStyle(document.documentElement), get = (name) => style.getPropertyValue(name).trim();
  const fade = (hex, alpha) => { const at = parseInt(hex.slice(1), 16); return `rgba(${at >> 16}, ${at >> 8 & 255}, ${at & 255}, ${alpha})`; };
  return { panel: get("--panel"), ink: get("--soft"), muted: get("--muted"), line: fade(get("--strong"), .34), up: get("--up"), down: get("--down"), warn: get("--warn"), accent: get("--accent"), upFade: fade(get("--up"), .38), downFade: fade(get("--down"), .38), shade: fade(get("--muted"), .09), edge: fade(get("--muted"), .45), font: style.getPropertyValue("--sans").trim() };
}

/** Behind the candles: a line where a session or a UTC day begins, a shade over what trades outside regular hours. */
class Sessions {
  constructor() { this.starts = []; this.outside = []; this.colours = palette(); }
  attached({ chart, requestUpdate }) { this.chart = chart; this.update = requestUpdate; }
  detached() { this.chart = null; }
  updateAllViews() {}
  paneViews() {
    const draw = (target) => target.useBitmapCoordinateSpace((scope) => {
      if (!this.chart) return;
      const scale = this.chart.timeScale(), wide = scale.options().barSpacing * scope.horizontalPixelRatio, high = scope.bitmapSize.height;
      const at = (time) => { const found = scale.timeToCoordinate(time); return found === null ? null : found * scope.horizontalPixelRatio; };
      const context = scope.context;
      context.fillStyle = this.colours.shade;
      for (const [first, last] of this.outside) {
        const from = at(first), to = at(last);
        if (from !== null && to !== null) context.fillRect(from - wide / 2, 0, to - from + wide, high);
      }
      context.strokeStyle = this.colours.edge;
      context.setLineDash([3, 5]);
      for (const time of this.starts) {
        const x = at(time);
        if (x !== null) { context.beginPath(); context.moveTo(Math.round(x - wide / 2) + .5, 0); context.lineTo(Math.round(x - wide / 2) + .5, high); context.stroke(); }
      }
      context.setLineDash([]);
    });
    return [{ zOrder: () => "bottom", renderer: () => ({ draw() {}, drawBackground: draw }) }];
  }
}

export class Chart {
  constructor(library, place, { onLegend, onOlder }) {
    this.library = library; this.onLegend = onLegend; this.onOlder = onOlder;
    this.bars = new Map(); this.order = []; this.sessions = []; this.digits = 2; this.colours = palette();
    this.chart = library.createChart(place, { autoSize: true, ...this.look(), timeScale: { timeVisible: true, secondsVisible: true, rightOffset: 4, minBarSpacing: 1.2, borderVisible: false, tickMarkFormatter: (time, kind) => (kind < 3 ? day(time * 1e9) : kind === 3 ? minute(time * 1e9) : clock(time * 1e9)) }, crosshair: { mode: 0 }, rightPriceScale: { borderVisible: false }, localization: { timeFormatter: (time) => `${day(time * 1e9)} ${clock(time * 1e9)}` } });
    const c = this.colours;
    this.candles = this.chart.addSeries(library.CandlestickSeries, { upColor: c.up, downColor: c.down, wickUpColor: c.up, wickDownColor: c.down, borderVisible: false });
    this.vwap = this.chart.addSeries(library.LineSeries, { color: c.accent, lineWidth: 1, lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false });
    this.volume = this.chart.addSeries(library.HistogramSeries, { priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false }, 1);
    this.marks = library.createSeriesMarkers(this.candles, []);
    this.behind = new Sessions();
    this.candles.attachPrimitive(this.behind);
    this.chart.panes()[1]?.setHeight(86);
    this.chart.subscribeCrosshairMove((at) => { this.under = at.time ?? null; this.legend(); });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => { if (range && range.from < 5 && this.order.length) this.onOlder(this.order[0]); });
  }
  look() {
    const c = this.colours;
    return { layout: { background: { color: c.panel }, textColor: c.muted, fontFamily: c.font, fontSize: 11, attributionLogo: false, panes: { separatorColor: c.line, separatorHoverColor: c.line, enableResize: true } }, grid: { vertLines: { color: c.line, style: 1 }, horzLines: { color: c.line, style: 1 } } };
  }
  /** Take the colours of the theme anew. */
  restyle() {
    const c = this.colours = palette();
    this.behind.colours = c;
    this.chart.applyOptions(this.look());
    this.candles.applyOptions({ upColor: c.up, downColor: c.down, wickUpColor: c.up, wickDownColor: c.down });
    this.vwap.applyOptions({ color: c.accent });
    this.redraw();
  }
  instrument(tick) {
    this.digits = decimals(tick);
    const priceFormat = { type: "price", precision: this.digits, minMove: tick || 0.01 };
    this.candles.applyOptions({ priceFormat });
    this.vwap.applyOptions({ priceFormat });
  }
  /** Show these bars and no others. */
  reset(bars) { this.bars.clear(); this.order = []; this.add(bars); this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(-6, this.order.length - 140), to: this.order.length + 5 }); }
  /** Add bars at any place. */
  add(bars) {
    const shown = this.order.length ? this.chart.timeScale().getVisibleLogicalRange() : null, before = this.order.length;
    for (const bar of bars) this.bars.set(Math.floor(bar.start / 1e9), bar);
    this.order = [...this.bars.keys()].sort((a, b) => a - b);
    this.redraw();
    if (shown) { const more = this.order.length - before; this.chart.timeScale().setVisibleLogicalRange({ from: shown.from + more, to: shown.to + more }); }
  }
  candle(time) {
    const bar = this.bars.get(time), gap = bar.flags?.includes("gap");
    return { time, open: bar.open, high: bar.high, low: bar.low, close: bar.close, ...(gap ? { color: this.colours.warn, wickColor: this.colours.warn } : {}) };
  }
  bucket(time) { const bar = this.bars.get(time); return { time, value: bar.volume ?? 0, color: bar.close >= bar.open ? this.colours.upFade : this.colours.downFade }; }
  redraw() {
    this.candles.setData(this.order.map((time) => this.candle(time)));
    this.volume.setData(this.order.map((time) => this.bucket(time)));
    this.notes();
    this.average();
    this.legend();
  }
  notes() {
    const gaps = this.order.filter((time) => this.bars.get(time).flags?.includes("gap"));
    this.marks.setMarkers(gaps.slice(-60).map((time) => ({ time, position: "aboveBar", shape: "square", color: this.colours.warn, text: gaps.length < 12 ? "gap" : "", size: 0.6 })));
    this.behind.starts = []; this.behind.outside = [];
    const width = this.order.length > 1 ? this.order[1] - this.order[0] : 60;
    if (width >= 86400) { this.behind.update?.(); return; }
    let was = null, open = null;
    for (const time of this.order) {
      const inside = this.sessions.find((each) => time * 1e9 >= each.open && time * 1e9 < each.close);
      const name = this.sessions.length ? (inside ? inside.open : "shut") : Math.floor(time / 86400);
      if (name !== was && was !== null) this.behind.starts.push(time);
      was = name;
      const out = this.sessions.length && (!inside || inside.kind === "extended");
      if (out) open ? open[1] = time : open = [time, time];
      else if (open) { this.behind.outside.push(open); open = null; }
    }
    if (open) this.behind.outside.push(open);
    this.behind.update?.();
  }
  /** Volume-weighted price since the session (or UTC day) began, or since the first bar here. */
  average() {
    const starts = new Set(this.behind.starts);
    let sum = 0, size = 0;
    this.averaged = new Map();
    const line = [];
    for (const time of this.order) {
      const bar = this.bars.get(time);
      if (starts.has(time)) { sum = 0; size = 0; }
      if (bar.volume && bar.vwap != null) { sum += bar.vwap * bar.volume; size += bar.volume; }
      if (size) { line.push({ time, value: sum / size }); this.averaged.set(time, sum / size); }
    }
    this.vwap.setData(line);
    this.base = this.sumsBefore(this.order.at(-1));
  }
  /** Take a bar that is forming, just closed, or was corrected. */
  update(bar) {
    const time = Math.floor(bar.start / 1e9), last = this.order.at(-1), known = this.bars.get(time);
    if (known && known.revision > bar.revision) return;
    this.bars.set(time, bar);
    if (last !== undefined && time < last && !known) { this.add([]); return; }
    const fresh = last === undefined || time > last;
    if (fresh) this.order.push(time);
    if (fresh || time < last || (bar.flags?.includes("gap") && !known?.flags?.includes("gap"))) { this.notes(); this.base = this.sumsBefore(this.order.at(-1)); }
    this.candles.update(this.candle(time), !fresh && time < last);
    this.volume.update(this.bucket(time), !fresh && time < last);
    if (!fresh && time < last) this.average();
    else if (this.base) {
      const size = this.base.size + (bar.volume ?? 0), sum = this.base.sum + (bar.vwap ?? 0) * (bar.volume ?? 0);
      if (size) { this.averaged.set(time, sum / size); this.vwap.update({ time, value: sum / size }); }
    }
    this.legend();
  }
  /** Let the newest trade move the forming candle until the server's own bar, a moment later, replaces it. */
  touch(price, ns, width) {
    const time = this.order.at(-1), bar = this.bars.get(time), at = ns / 1e9;
    if (!bar || bar.closed || at < time || at >= time + width || price === bar.close) return;
    this.bars.set(time, { ...bar, close: price, high: Math.max(bar.high, price), low: Math.min(bar.low, price) });
    this.candles.update(this.candle(time));
    this.legend();
  }
  /** What was traded since the session began, without the bar at `end`. */
  sumsBefore(end) {
    let sum = 0, size = 0;
    const starts = new Set(this.behind.starts);
    for (const time of this.order) {
      if (starts.has(time)) { sum = 0; size = 0; }
      if (time >= end) break;
      const bar = this.bars.get(time);
      if (bar.volume && bar.vwap != null) { sum += bar.vwap * bar.volume; size += bar.volume; }
    }
    return { sum, size };
  }
  legend() {
    const time = this.under ?? this.order.at(-1), bar = this.bars.get(time);
    if (!bar) { this.onLegend(null); return; }
    const p = (value) => number(value, this.digits);
    this.onLegend({ when: `${day(bar.start)} ${clock(bar.start)}`, o: p(bar.open), h: p(bar.high), l: p(bar.low), c: p(bar.close), v: short(bar.volume), n: short(bar.count), w: p(this.averaged?.get(time)), up: bar.close >= bar.open, gap: bar.flags?.includes("gap"), forming: !bar.closed });
  }
  remove() { this.chart.remove(); }
}
