// The latest raw ticks of a symbol as the API answers them, to look at and to copy as a command.
import { may, usePoll } from "../api.js";
import * as board from "../board.js";
import { html, toast, useMemo, useState, useWatched } from "../core.js";
import { age, clockMs, decimals, full, number } from "../format.js";
import { adjust, route } from "../route.js";
import { Empty, Panel, Tabs, Tag, Waiting, copy } from "../ui.js";

const KINDS = [["trades", "Trades"], ["quotes", "Quotes"]];

function commands(symbol, kind, limit) {
  const path = kind === "trades" ? `/api/v1/ticks/realtime?symbols=${encodeURIComponent(symbol)}&limit=${limit}` : `/api/v1/quotes/history/${encodeURIComponent(symbol)}?limit=${limit}`;
  const quoted = `'${(location.origin + path).replaceAll("'", "'\\''")}'`;
  return {
    curl: `curl -H "Authorization: Bearer $TICKTAPE_KEY" ${quoted}`,
    python: `import json, os, urllib.request\n\nrequest = urllib.request.Request(\n    ${JSON.stringify(location.origin + path)},\n    headers={"Authorization": "Bearer " + os.environ["TICKTAPE_KEY"]},\n)\nfor row in json.load(urllib.request.urlopen(request))["${kind === "trades" ? "ticks" : "quotes"}"]:\n    print(row)`,
  };
}

export function Samples() {
  const all = useWatched(board.symbols), { query } = useWatched(route), [held, hold] = useState(false), [how, as] = useState("curl");
  const symbol = query.symbol || all[0]?.symbol || "", kind = query.kind === "quotes" ? "quotes" : "trades", limit = Number(query.limit) || 50, filter = query.filter || "";
  const about = all.find((each) => each.symbol === symbol), needs = kind === "trades" ? "realtime" : "history";
  const path = kind === "trades" ? `/ticks/realtime?symbols=${encodeURIComponent(symbol)}&limit=${limit}` : `/quotes/history/${encodeURIComponent(symbol)}?limit=${limit}`;
  const told = usePoll(symbol ? path : "", held ? 0 : 1000, { on: may(needs) });
  const rows = useMemo(() => {
    const found = [...(told.data?.ticks || told.data?.quotes || [])].reverse(), wanted = filter.toLowerCase();
    return wanted ? found.filter((row) => JSON.stringify(row).toLowerCase().includes(wanted)) : found;
  }, [told.data, filter]);
  const digits = decimals(about?.tick_size), sizes = Math.min(8, decimals(about?.size_step)), text = commands(symbol, kind, limit)[how];
  if (!may(needs)) return html`<${Empty} title="This key may not read these" hint=${`They need the scope ${needs}.`} command=${`ticktape key create --scopes ${needs}`} />`;
  if (!symbol) return html`<${Empty} title="No symbol yet" hint="The latest ticks show here as soon as there are some." command="ticktape up" />`;
  const p = (value) => value == null ? "–" : number(value, digits), s = (value) => value == null ? "–" : number(value, sizes);
  return html`<div class="samples"><${Panel} title="Latest ticks" flush side=${html`<span class="right quiet wide">${told.data ? `as of position ${number(told.data.as_of_position)}, newest ${age(told.data.freshness.age_s)} old` : ""}</span>`}>
    <div class="bar"><div class="field"><label for="s-symbol">Symbol</label><select id="s-symbol" onChange=${(event) => adjust({ symbol: event.target.value })}>${all.map((each) => html`<option key=${each.symbol} value=${each.symbol} selected=${each.symbol === symbol}>${each.symbol}</option>`)}</select></div>
      <div class="field"><label>Kind</label><${Tabs} label="Kind" of=${KINDS} value=${kind} onPick=${(name) => adjust({ kind: name })} /></div>
      <div class="field"><label for="s-limit">Rows</label><select id="s-limit" onChange=${(event) => adjust({ limit: event.target.value })}>${[20, 50, 200, 1000].map((each) => html`<option key=${each} value=${each} selected=${each === limit}>${each}</option>`)}</select></div>
      <div class="field grow"><label for="s-filter">Has in it</label><input id="s-filter" placeholder="a flag, a side, a price" value=${filter} onInput=${(event) => adjust({ filter: event.target.value })} /></div><button onClick=${() => hold(!held)} aria-pressed=${String(held)}>${held ? "▶ Follow" : "❚❚ Hold"}</button></div>
    ${!told.data ? html`<${Waiting} error=${told.error} />` : !rows.length ? html`<${Empty} title=${filter ? "None of these rows has that in it" : `No ${kind} of ${symbol.slice(0, 30)} yet`} />` : html`<div class="scroll tall" tabindex="0" role="region" aria-label="Rows, newest first"><table><thead><tr><th class="num">Position</th><th>Venue time</th><th class="num wide">Delay</th>${kind === "trades" ? html`<th>Side</th><th class="num">Price</th><th class="num">Size</th><th class="num wide">Venue id</th>` : html`<th class="num">Bid size</th><th class="num">Bid</th><th class="num">Ask</th><th class="num">Ask size</th>`}<th>Flags</th></tr></thead>
      <tbody>${rows.slice(0, 300).map((row) => html`<tr key=${row.position}><td class="num mono">${row.position}</td><td title=${full(row.ts_event)}>${clockMs(row.ts_event)}</td><td class="num wide quiet">${age((row.ts_recv - row.ts_event) / 1e9)}</td>${kind === "trades" ? html`<td class=${row.side === "buy" ? "up" : row.side === "sell" ? "down" : "quiet"}>${row.side === "buy" ? "▲ buy" : row.side === "sell" ? "▼ sell" : "–"}</td><td class="num">${p(row.price)}</td><td class="num">${s(row.size)}</td><td class="num mono wide">${row.venue_id}</td>` : html`<td class="num">${s(row.bid_size)}</td><td class="num up">${p(row.bid_price)}</td><td class="num down">${p(row.ask_price)}</td><td class="num">${s(row.ask_size)}</td>`}<td>${row.flags.map((flag) => html`<${Tag} key=${flag} kind=${flag === "synthetic" || flag === "no_venue_time" ? "" : "iffy"}>${flag.replaceAll("_", " ")}</${Tag}> `)}</td></tr>`)}</tbody></table></div>`}</${Panel}>
    <${Panel} title="The same by hand" side=${html`<${Tabs} label="As" of=${[["curl", "curl"], ["python", "Python"]]} value=${how} onPick=${as} /><button class="small right" onClick=${() => copy(text).then(() => toast("Copied", "good"), () => toast("This browser does not let pages copy: select it", "bad"))}>Copy</button>`}><pre tabindex="0" aria-label="Command">${text}</pre></${Panel}></div>`;
}
