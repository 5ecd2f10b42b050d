// The frame around the views: sign-in, where to go, what is wrong, keys on the keyboard.
import { enter, leave, may, resume, session, why } from "./api.js";
import * as board from "./board.js";
import { html, recall, remember, render, toasts, useEffect, useErrorBoundary, useMemo, useRef, useState, useWatched, watched } from "./core.js";
import { age, chooseZone, zone, zoneName } from "./format.js";
import { VIEWS, go, href, route } from "./route.js";
import { Dot, Modal, Tag } from "./ui.js";
import { replaying } from "./market/playing.js";
import { Overview } from "./views/overview.js";

const ICONS = {
  overview: "M3 12h4l3-8 4 16 3-8h4", market: "M6 4v16M6 8h-2v7h4V8H6M16 3v18M16 6h-3v9h6V6h-3", data: "M4 6c0-4 16-4 16 0s-16 4-16 0v12c0 4 16 4 16 0V6M4 12c0 4 16 4 16 0",
  query: "M4 5h16v14H4zM8 10l3 2.5L8 15M13 15h4", keys: "M14 10a4 4 0 1 0-2.6 3.7L13 15h2v2h2v2h3v-3l-5.3-4.3", samples: "M4 6h16M4 10h11M4 14h16M4 18h8",
};
const LETTER = { overview: "o", market: "m", data: "d", query: "q", keys: "k", samples: "s" };
const NAMES = { overview: "Overview", market: "Market", data: "Data", query: "Query", keys: "Keys", samples: "Samples" };
const wall = document.documentElement.hasAttribute("data-wall");
const open = watched(null); // which dialog: find, help
const theme = watched(recall("ticktape.theme", "dark"));
theme.watch((name) => { remember("ticktape.theme", name); document.documentElement.dataset.theme = name; });
document.documentElement.dataset.theme = theme.value;

// A view's code is fetched when it is first gone to; Overview is there at once.
const LOADERS = {
  market: () => import("./market/market.js").then((m) => m.Market), data: () => import("./views/data.js").then((m) => m.Data),
  query: () => import("./views/query.js").then((m) => m.Query), keys: () => import("./views/keys.js").then((m) => m.Keys),
  samples: () => import("./views/samples.js").then((m) => m.Samples),
};
const loaded = { overview: Overview };

// A fault in one view leaves the frame, and the others, as they are.
function Guarded({ of: Found }) {
  const [fault, again] = useErrorBoundary((error) => console.error(error));
  if (fault) return html`<div class="empty"><strong>This view could not be drawn</strong><span>${String(fault.message || fault)}</span><button onClick=${again}>Draw it again</button></div>`;
  return html`<${Found} />`;
}

function View() {
  const { view } = useWatched(route);
  const [, redraw] = useState(0);
  const [error, setError] = useState("");
  useEffect(() => {
    document.title = `${NAMES[view]} – ticktape`;
    if (loaded[view]) return;
    LOADERS[view]().then((Found) => { loaded[view] = Found; setError(""); redraw((n) => n + 1); }, (failed) => setError(String(failed.message || failed)));
  }, [view]);
  const Found = loaded[view];
  if (error && !Found) return html`<div class="empty"><strong>This view could not be loaded</strong><span>${error}</span></div>`;
  return Found ? html`<${Guarded} key=${view} of=${Found} />` : html`<div class="empty">Loading</div>`;
}

function World() {
  const now = useWatched(board.status), played = useWatched(replaying);
  if (!now?.data) return null;
  if (played) return html`<span class="tag world replay">REPLAY</span>${now.data.sample && html`<span class="tag world sample">SAMPLE</span>`}`;
  return now.data.sample ? html`<span class="tag world sample" title="Made by the simulator, not the market">SAMPLE</span>` : html`<span class="tag world live">LIVE</span>`;
}

function State() {
  const [kind, text] = board.health(useWatched(board.status), useWatched(board.feeds), useWatched(board.link));
  return html`<a class="state" href=${href("overview")} aria-live="polite"><${Dot} kind=${kind} /><span>${text}</span></a>`;
}

function Clock() {
  const where = useWatched(zone), [at, set] = useState(Date.now());
  useEffect(() => { const timer = setInterval(() => set(Date.now()), 1000); return () => clearInterval(timer); }, []);
  const text = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZone: zoneName() }).format(at);
  return html`<label class="row wide"><span class="mono soft">${text}</span>
    <select class="small" aria-label="Time zone" value=${where} onChange=${(event) => { chooseZone(event.target.value); go(route.value.view, route.value.arg, route.value.query); }}>
      <option value="mine">My time</option><option value="venue">Venue time</option><option value="utc">UTC</option></select></label>`;
}

function Top() {
  const { view } = useWatched(route), look = useWatched(theme);
  return html`<header class="top"><h1>${wall ? "ticktape" : NAMES[view]}</h1><${World} />
    <button class="find" onClick=${() => open.set("find")} aria-label="Find a symbol"><svg width="14" height="14" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.4" aria-hidden="true"><circle cx="10.5" cy="10.5" r="6.5" /><path d="M15.5 15.5L21 21" /></svg><span>Find a symbol</span><kbd>/</kbd></button>
    <span class="right"></span><${State} /><${Clock} />
    <button class="bare small wide" onClick=${() => theme.set(look === "dark" ? "light" : "dark")} aria-label=${look === "dark" ? "Light theme" : "Dark theme"}>${look === "dark" ? "☾" : "☀"}</button>
    ${!wall && html`<button class="bare small wide" onClick=${() => open.set("help")} aria-label="Help">?</button><button class="bare small wide" onClick=${() => leave()}>Sign out</button>`}</header>`;
}

function Rail() {
  const { view } = useWatched(route);
  return html`<nav class="rail" aria-label="Views">${VIEWS.filter((name) => name !== "keys" || may("admin")).map((name) => html`
    <a key=${name} href=${href(name)} aria-current=${name === view ? "page" : null} title=${`g ${LETTER[name]}`}>
      <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.7" stroke-linejoin="round" stroke-linecap="round" aria-hidden="true"><path d=${ICONS[name]} /></svg>${NAMES[name]}</a>`)}</nav>`;
}

function Notes() {
  const link = useWatched(board.link), now = useWatched(board.status);
  const [, tick] = useState(0);
  useEffect(() => { const timer = setInterval(() => tick((n) => n + 1), 1000); return () => clearInterval(timer); }, []);
  const lost = link.name !== "open" && Date.now() - link.since > 1500, away = now?.error?.status === 0;
  const noTape = now?.error?.status === 503 && !now.data;
  return html`<div class="notes" aria-live="polite">
    ${(lost || away) && html`<div class="banner bad" role="alert"><${Dot} kind="bad" /><strong>Disconnected</strong><span>What is shown is ${age((Date.now() - (now?.at || link.since)) / 1000)} old. Trying again by itself.</span><button class="small" onClick=${board.reconnect}>Try now</button></div>`}
    ${noTape && html`<div class="banner iffy"><${Dot} kind="iffy" /><span>Nothing has been recorded here yet: this page fills as soon as the recorder writes its first tick.</span></div>`}
    ${now?.data && !away && !now.data.ok && !wall && html`<${Problems} list=${now.data.problems} />`}
  </div>`;
}
function Problems({ list }) {
  const [hidden, hide] = useState("");
  if (!list.length || hidden === list.join()) return null;
  return html`<div class="banner iffy"><${Dot} kind="iffy" /><span class="grow cut" title=${list.join("\n")}>${list[0]}${list.length > 1 ? ` (and ${list.length - 1} more)` : ""}</span><a href=${href("overview")}>Overview</a><button class="bare small" aria-label="Hide" onClick=${() => hide(list.join())}>×</button></div>`;
}

function Find() {
  const all = useWatched(board.symbols), [text, set] = useState(""), [at, move] = useState(0), list = useRef(null);
  const found = useMemo(() => {
    const wanted = text.trim().toUpperCase();
    const views = VIEWS.filter((name) => wanted && NAMES[name].toUpperCase().startsWith(wanted)).map((name) => ({ view: name, symbol: NAMES[name], about: "view" }));
    const rank = (symbol) => symbol === wanted ? 0 : symbol.startsWith(wanted) ? 1 : 2;
    const hits = all.filter((each) => each.symbol.toUpperCase().includes(wanted)).sort((a, b) => rank(a.symbol) - rank(b.symbol) || a.symbol.localeCompare(b.symbol));
    return [...hits.slice(0, 60).map((each) => ({ view: "market", symbol: each.symbol, about: `${each.asset_class}, ${each.venue}` })), ...views];
  }, [text, all]);
  const pick = (one) => { open.set(null); if (one) one.about === "view" ? go(one.view) : go("market", one.symbol, route.value.view === "market" ? { tf: route.value.query.tf } : {}); };
  const onKey = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && found.length) { event.preventDefault(); const next = (at + step + found.length) % found.length; move(next); list.current.children[next]?.scrollIntoView({ block: "nearest" }); }
    if (event.key === "Enter") pick(found[at]);
  };
  return html`<${Modal} title="Find a symbol" name="find-box" onClose=${() => open.set(null)}>
    <input autofocus role="combobox" aria-expanded="true" aria-controls="found" aria-activedescendant=${found[at] ? `found-${at}` : null} aria-label="Symbol or view" placeholder="Symbol or view" value=${text} onInput=${(event) => { set(event.target.value); move(0); }} onKeyDown=${onKey} spellcheck="false" autocomplete="off" />
    <ul id="found" role="listbox" aria-label="Found" ref=${list}>${found.map((one, i) => html`<li key=${one.about + one.symbol} id=${`found-${i}`} role="option" aria-selected=${String(i === at)} onClick=${() => pick(one)} onMouseMove=${() => move(i)}><strong class="cut">${one.symbol}</strong><span class="quiet right cut">${one.about}</span></li>`)}</ul>
    ${!found.length && html`<p class="empty">No symbol has that in its name</p>`}</${Modal}>`;
}

function Help() {
  const rows = [["/", "find a symbol or a view"], ...VIEWS.map((name) => [`g ${LETTER[name]}`, `go to ${NAMES[name]}`]), ["[ ]", "Market: symbol before, symbol after"], ["1 – 7", "Market: timeframe, from a second to a day"], ["Ctrl Enter", "Query: run it"], ["t", "light or dark"], ["Esc", "close what is open"], ["?", "this"]];
  return html`<${Modal} title="Keys and more" onClose=${() => open.set(null)} footer=${html`<button onClick=${() => open.set(null)}>Close</button>`}>
    <div class="keys-help">${rows.map(([key, text]) => html`<span><kbd>${key}</kbd></span><span>${text}</span>`)}</div>
    <p class="quiet">Everything here comes from the public API: <a href="/docs">its reference</a>. A page for a wall screen: <a href="/status.html">/status.html</a>. Charts by <a href="https://www.tradingview.com/" rel="noreferrer">TradingView Lightweight Charts</a> (Apache-2.0), uPlot (MIT), htm and Preact (Apache-2.0, MIT); licences lie beside them under /desk/lib/.</p></${Modal}>`;
}

function Toasts() {
  return html`<div class="toasts" role="status" aria-live="polite">${useWatched(toasts).map((each) => html`<div key=${each.id} class=${`toast ${each.kind}`}>${each.text}</div>`)}</div>`;
}

function Door() {
  const because = useWatched(why), [key, set] = useState(""), [error, fail] = useState(""), [busy, wait] = useState(false);
  const submit = async (event) => {
    event.preventDefault();
    wait(true);
    try { await enter(key.trim()); }
    catch (failed) { fail(failed.status === 401 ? "That is not a key of this server." : failed.message); }
    finally { wait(false); }
  };
  return html`<main class="door"><form class="panel" onSubmit=${submit}><img src="/desk/icon.svg" alt="" /><h1>Sign in to ticktape</h1>
    <p class="soft">With an API key. It is kept for this tab only. On the machine itself, the link that <code>ticktape up</code> prints signs you in once.</p>
    <div class="field"><label for="key">API key</label><input id="key" type="password" autocomplete="off" spellcheck="false" autofocus placeholder="tt_..." value=${key} onInput=${(event) => { set(event.target.value); fail(""); }} /></div>
    ${(error || because) && html`<p class="down" role="alert">${error || because}</p>`}
    <button class="main" disabled=${!key.trim() || busy}>${busy ? "Signing in" : "Sign in"}</button>
    <p class="quiet">No key yet? <code>ticktape key create</code></p></form></main>`;
}

let pending = 0;
function onKey(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName) || event.target.isContentEditable;
  if (!session.value || typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (Date.now() - pending < 1500) {
    pending = 0;
    const view = VIEWS.find((name) => LETTER[name] === event.key);
    if (view && (view !== "keys" || may("admin"))) { event.preventDefault(); go(view); return; }
  }
  if (event.key === "g") pending = Date.now();
  else if (event.key === "/") { event.preventDefault(); open.set("find"); }
  else if (event.key === "?") open.set("help");
  else if (event.key === "t") theme.set(theme.value === "dark" ? "light" : "dark");
}

function App() {
  const signed = useWatched(session), dialog = useWatched(open);
  useWatched(zone);
  useEffect(() => { if (!signed) return undefined; board.follow(); return board.forget; }, [signed?.key]);
  if (!signed) return html`<${Door} /><${Toasts} />`;
  return html`<div class="shell"><nav class="brand" aria-label="Home"><a href="#/overview" aria-label="ticktape, Overview"><img src="/desk/icon.svg" alt="" /></a></nav><${Top} />${!wall && html`<${Rail} />`}<${Notes} /><main class="page" id="main"><${View} /></main></div>
    ${dialog === "find" && html`<${Find} />`}${dialog === "help" && html`<${Help} />`}<${Toasts} />`;
}

export async function start(place) {
  addEventListener("keydown", onKey);
  const show = () => { place.className = ""; place.replaceChildren(); render(html`<${App} />`, place); performance.mark("desk.interactive"); };
  try { await resume(); } catch (error) {
    place.textContent = `ticktape does not answer (${error.message}). Trying again.`;
    setTimeout(() => start(place), 2000);
    return;
  }
  show();
}

