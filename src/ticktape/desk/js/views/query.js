// Read-only SQL over the lake: what tables there are, an editor, the rows as grid or chart, and as a file.
import { ask, may } from "../api.js";
import { html, recall, remember, toast, useEffect, useRef, useState, useWatched } from "../core.js";
import { full, number, plural } from "../format.js";
import { adjust, route } from "../route.js";
import { Empty, Panel, Tabs } from "../ui.js";

const TABLES = ["trades", "quotes", "book", "bars", "gaps", "quality", "instruments", "sources"], SHOWN = 500;
const EXAMPLES = [
  ["Trades a minute", "SELECT instrument_id, ts_event // 60000000000 * 60000000000 AS minute, count(*) AS trades\nFROM trades\nGROUP BY ALL\nORDER BY minute DESC, instrument_id\nLIMIT 200"],
  ["Latest bars", "SELECT instrument_id, open_ts, open / 1e8 AS open, high / 1e8 AS high, low / 1e8 AS low, close / 1e8 AS close, count\nFROM bars\nWHERE basis = 0\nORDER BY open_ts DESC\nLIMIT 100"],
  ["Median spread by symbol", "SELECT instrument_id, count(*) AS quotes, median(ask_price - bid_price) / 1e8 AS median_spread\nFROM quotes\nGROUP BY instrument_id\nORDER BY instrument_id"],
  ["Busiest seconds", "SELECT ts_event // 1000000000 * 1000000000 AS second, count(*) AS trades\nFROM trades\nGROUP BY second\nORDER BY trades DESC\nLIMIT 50"],
  ["Delay from venue to us", "SELECT instrument_id, quantile_cont((ts_recv - ts_event) / 1e6, [0.5, 0.99])::VARCHAR AS p50_p99_ms\nFROM trades\nGROUP BY instrument_id"],
  ["Gaps", "SELECT * FROM gaps ORDER BY position DESC LIMIT 100"],
];
const schema = {};
const isTime = (name, value) => /(^|_)(ts|time|minute|second|hour|start|end|ts_event|ts_recv|open_ts|close_ts)$/.test(name) && Math.abs(value) > 1e17;

function Tree({ onPick }) {
  const [open, set] = useState(""), [columns, got] = useState(schema);
  const look = async (table) => {
    set(table);
    if (schema[table]) return;
    try { schema[table] = (await ask("/sql", { method: "POST", body: { query: `DESCRIBE ${table}`, limit: 200 } })).rows; got({ ...schema }); }
    catch (error) { toast(error.message, "bad"); }
  };
  return html`<${Panel} title="Tables" flush><div class="tree">${TABLES.map((table) => html`<details key=${table} open=${open === table} onToggle=${(event) => event.target.open && look(table)}><summary>${table}</summary>
    ${(columns[table] || []).map(([name, type]) => html`<button key=${name} class=${name.startsWith("ts_") ? "time" : ""} title=${`Put ${name} into the statement`} onClick=${() => onPick(name)}><span>${name}</span><span class="quiet">${type.toLowerCase()}</span></button>`)}
    ${open === table && !columns[table] && html`<p class="quiet">Loading</p>`}</details>`)}</div></${Panel}>`;
}

export function Query() {
  const { query } = useWatched(route);
  const [text, write] = useState(query.q || recall("ticktape.sql", EXAMPLES[0][1])), [limit, bound] = useState(1000), [shape, as] = useState("grid");
  const [state, set] = useState({}), area = useRef(null), running = useRef(null);
  const run = async () => {
    running.current?.abort();
    const mine = running.current = new AbortController(), began = performance.now();
    set({ busy: true });
    remember("ticktape.sql", text);
    adjust({ q: text.length < 1500 ? text : "" });
    try { set({ told: await ask("/sql", { method: "POST", body: { query: text, limit: Number(limit) }, signal: mine.signal }), took: performance.now() - began }); }
    catch (error) { if (!mine.signal.aborted) set({ error }); else if (running.current === mine) set({}); }
  };
  const save = async (format) => {
    try {
      const answer = await ask(`/sql?format=${format}`, { method: "POST", body: { query: text, limit: Number(limit) }, accept: format === "csv" ? "text/csv" : "application/vnd.apache.parquet" });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await answer.blob());
      link.download = `ticktape.${format}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) { toast(error.message, "bad"); }
  };
  const insert = (name) => { const box = area.current; box.focus(); box.setRangeText(name, box.selectionStart, box.selectionEnd, "end"); write(box.value); };
  const onKey = (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } };
  if (!may("sql")) return html`<${Empty} title="This key may not ask in SQL" hint="It needs the scope sql." command="ticktape key create --scopes sql,history" />`;
  const told = state.told;
  return html`<div class="query"><${Tree} onPick=${insert} /><div class="stack">
    <section class="panel editor" aria-label="Statement"><header><h2>Statement</h2><select class="right" aria-label="Examples" value="" onChange=${(event) => { if (event.target.value !== "") write(EXAMPLES[event.target.value][1]); event.target.value = ""; }}><option value="">Examples</option>${EXAMPLES.map(([name], i) => html`<option key=${name} value=${i}>${name}</option>`)}</select></header>
      <textarea ref=${area} spellcheck="false" aria-label="SQL" value=${text} onInput=${(event) => write(event.target.value)} onKeyDown=${onKey}></textarea>
      <footer><button class="main" onClick=${run} disabled=${state.busy || !text.trim()}>${state.busy ? "Running" : "Run"} <kbd class="wide">Ctrl Enter</kbd></button>${state.busy && html`<button onClick=${() => running.current.abort()}>Stop</button>`}
        <label class="row">Rows <select value=${limit} onChange=${(event) => bound(event.target.value)}>${[100, 1000, 10000].map((each) => html`<option key=${each} value=${each} selected=${Number(limit) === each}>${number(each)}</option>`)}</select></label>
        <span class="right"></span><button class="small" onClick=${() => save("csv")}>CSV</button><button class="small" onClick=${() => save("parquet")}>Parquet</button></footer></section>
    <section class="panel result" aria-label="Result" aria-live="polite"><header><h2>Result</h2>${told && html`<span class="quiet">${plural(told.count, "row")}${told.cut ? ", cut" : ""}, ${number(state.took)} ms</span><span class="right"></span><${Tabs} label="Show as" value=${shape} of=${[["grid", "Grid"], ["chart", "Chart"]]} onPick=${as} />`}</header>
      ${told?.missing.length > 0 && html`<p class="banner iffy">${told.missing.join("; ")}</p>`}
      ${state.error ? html`<div class="fault" role="alert">${state.error.message}${state.error.hint ? `\n\n${state.error.hint}` : ""}</div>` : state.busy ? html`<${Empty} title="Running" />` : !told ? html`<${Empty} title="Nothing run yet" hint="Prices and sizes are whole numbers at the instrument's scale, times are ns since 1970." />` : !told.count ? html`<${Empty} title="No rows" hint="The statement is fine; nothing matches." />` : shape === "grid" ? html`<${Grid} told=${told} />` : html`<${Graph} told=${told} />`}</section></div></div>`;
}

function cell(name, value) {
  if (value === null) return html`<span class="quiet">null</span>`;
  if (typeof value === "number") return isTime(name, value) ? html`<span title=${value}>${full(value)}</span>` : Number.isInteger(value) ? String(value) : String(Math.round(value * 1e10) / 1e10);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
function Grid({ told }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Rows"><table><thead><tr>${told.columns.map((name, i) => html`<th key=${i} class=${/int|double|decimal|float/.test(told.types[i]) ? "num" : ""}>${name}<small>${told.types[i]}</small></th>`)}</tr></thead>
    <tbody>${told.rows.slice(0, SHOWN).map((row, r) => html`<tr key=${r}>${row.map((value, i) => html`<td key=${i} class=${typeof value === "number" ? "num" : ""}>${cell(told.columns[i], value)}</td>`)}</tr>`)}</tbody></table>${told.rows.length > SHOWN && html`<p class="empty">${number(told.rows.length - SHOWN)} more rows: download them as CSV or Parquet</p>`}</div>`;
}

let uplot = null;
function library() {
  if (!uplot) {
    const sheet = document.createElement("link");
    sheet.rel = "stylesheet"; sheet.href = "/desk/lib/uplot.css";
    document.head.append(sheet);
    uplot = import("../../lib/uplot.js").then((found) => found.default);
  }
  return uplot;
}

function Graph({ told }) {
  const numeric = told.columns.map((name, i) => i).filter((i) => told.rows.some((row) => typeof row[i] === "number"));
  const guess = numeric.find((i) => isTime(told.columns[i], told.rows[0][i])) ?? numeric[0];
  const [x, setX] = useState(guess), [y, setY] = useState(numeric.filter((i) => i !== guess).at(-1) ?? guess), place = useRef(null);
  useEffect(() => {
    if (x === undefined) return undefined;
    let made = null, over = false;
    library().then((UPlot) => {
      if (over) return;
      const time = isTime(told.columns[x], told.rows[0][x]), style = getComputedStyle(document.documentElement), get = (name) => style.getPropertyValue(name).trim();
      const points = told.rows.filter((row) => row[x] != null && row[y] != null).map((row) => [time ? row[x] / 1e9 : row[x], row[y]]).sort((a, b) => a[0] - b[0]);
      const axis = { stroke: get("--muted"), grid: { stroke: get("--line"), width: 1 }, ticks: { stroke: get("--line") }, font: `11px ${get("--sans")}` };
      made = new UPlot({ width: place.current.clientWidth - 20, height: Math.max(220, place.current.clientHeight - 20), legend: { show: false }, scales: { x: { time } }, axes: [axis, { ...axis, size: 76 }], series: [{}, { stroke: get("--accent"), width: 1.5, points: { show: points.length < 120 } }] }, [points.map((p) => p[0]), points.map((p) => p[1])], place.current);
    }, (error) => toast(error.message, "bad"));
    return () => { over = true; made?.destroy(); };
  }, [told, x, y]);
  if (x === undefined) return html`<${Empty} title="Nothing to draw" hint="A chart needs a column of numbers." />`;
  const pick = (value, set, label) => html`<label class="row">${label}<select onChange=${(event) => set(Number(event.target.value))}>${numeric.map((i) => html`<option key=${i} value=${i} selected=${i === value}>${told.columns[i]}</option>`)}</select></label>`;
  return html`<div class="row wrap bar">${pick(x, setX, "across")}${pick(y, setY, "up")}</div><div class="graph" ref=${place} role="img" aria-label=${`${told.columns[y]} by ${told.columns[x]}`}></div>`;
}
