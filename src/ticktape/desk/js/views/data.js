// Is what we have whole: gaps and their filling, certificates by symbol and day, quality, spot checks, what is stored.
import { ask, may, usePoll } from "../api.js";
import * as board from "../board.js";
import { html, toast, useEffect, useMemo, useRef, useState, useWatched } from "../core.js";
import { age, bytes, full, number, percent, plural, utcDate } from "../format.js";
import { adjust, route } from "../route.js";
import { Empty, Modal, Panel, Tabs, Tag, Waiting } from "../ui.js";

const DAYS = 14, MOST_SYMBOLS = 20, DAY_MS = 86_400_000;
const LOOKS = { "complete": ["good", "✓"], "complete after fill": ["good", "✓"], "incomplete": ["bad", "!"], "not provable": ["iffy", "?"] };
const STATES = { opened: ["bad", "open now"], closed: ["iffy", "waits to be filled"], filled: ["good", "filled"], unfillable: ["", "cannot be filled"] };

function Ledger() {
  const { query } = useWatched(route), state = query.state || "all", symbol = query.symbol || "";
  const told = usePoll(`/gaps?limit=500${state !== "all" ? `&state=${state}` : ""}${symbol ? `&symbol=${encodeURIComponent(symbol)}` : ""}`, 3000);
  const [busy, wait] = useState(false);
  const fill = async () => {
    wait(true);
    try { const answer = await ask("/gaps/fill", { method: "POST" }); toast(`Filling now: ${plural(answer.ok?.waiting ?? answer.ok ?? 0, "gap")} waiting`, "good"); told.again(); }
    catch (error) { toast(error.message, "bad"); }
    finally { wait(false); }
  };
  const rows = useMemo(() => [...(told.data?.gaps || [])].reverse().slice(0, 300), [told.data]);
  const side = html`<${Tabs} label="State" value=${state} of=${[["all", "All"], ["opened", "Open"], ["closed", "Waiting"], ["filled", "Filled"], ["unfillable", "Unfillable"]]} onPick=${(name) => adjust({ state: name === "all" ? "" : name })} />
    ${symbol && html`<button class="small" onClick=${() => adjust({ symbol: "" })} title="Show all symbols">${symbol.slice(0, 24)} ×</button>`}
    <span class="right quiet wide">${told.data ? `${plural(told.data.open, "gap")} open now` : ""}</span>${may("admin") && html`<button class="small main" disabled=${busy} onClick=${fill}>${busy ? "Asking" : "Fill now"}</button>`}`;
  return html`<${Panel} title="Gaps" flush side=${side}>${!told.data ? html`<${Waiting} error=${told.error} />` : !rows.length ? html`<${Empty} title="No gap" hint=${state === "all" ? "Nothing that should be here is missing." : "None in this state."} />` : html`
    <div class="scroll tall" tabindex="0" role="region" aria-label="Gaps, newest first"><table><thead><tr><th>State</th><th>Symbol</th><th>Channel</th><th>Cause</th><th>From</th><th class="num">Lasted</th><th class="num">Ids missing</th><th class="num">Came back</th><th class="wide">Source</th></tr></thead>
    <tbody>${rows.map((gap) => html`<tr key=${`${gap.gap_id}-${gap.channel}-${gap.instrument_id}`}><td><${Tag} kind=${STATES[gap.state]?.[0]}>${STATES[gap.state]?.[1] || gap.state}</${Tag}></td><td><b>${gap.symbol || "all of the source"}</b></td><td>${gap.channel.replaceAll("_", " ")}</td><td>${gap.cause.replaceAll("_", " ")}</td><td>${full(gap.start)}</td>
    <td class="num">${gap.end ? age((gap.end - gap.start) / 1e9) : `${age(Date.now() / 1e3 - gap.start / 1e9)} so far`}</td><td class="num">${gap.first_missing == null ? "not numbered" : number(gap.last_missing - gap.first_missing + 1)}</td><td class="num">${gap.rows == null ? "–" : number(gap.rows)}</td><td class="wide quiet">${gap.source}</td></tr>`)}</tbody></table></div>`}</${Panel}>`;
}

const certificates = new Map(); // symbol|day -> answer; a day that is over changes only when gaps are filled
function Calendar() {
  const all = useWatched(board.symbols), [, redraw] = useState(0), [picked, pick] = useState(null), [more, ask_more] = useState(false);
  const names = useMemo(() => all.slice(0, more ? 200 : MOST_SYMBOLS).map((each) => each.symbol), [all, more]);
  const today = Math.floor(Date.now() / DAY_MS), days = Array.from({ length: DAYS }, (_, i) => utcDate((today - DAYS + 1 + i) * DAY_MS));
  useEffect(() => {
    if (!names.length || !may("history")) return undefined;
    const stop = new AbortController();
    const run = async () => { // one at a time: the server works each of them out
      for (const day of [...days].reverse()) for (const name of names) {
        if (stop.signal.aborted) return;
        const key = `${name}|${day}`, kept = certificates.get(key);
        if (kept && (day !== utcDate(Date.now()) || Date.now() - kept.at < 60_000)) continue;
        try { certificates.set(key, { at: Date.now(), told: await ask(`/completeness/${encodeURIComponent(name)}/${day}`, { signal: stop.signal }) }); }
        catch (error) { if (stop.signal.aborted) return; certificates.set(key, { at: Date.now(), error }); }
        redraw((n) => n + 1);
      }
    };
    const timer = setTimeout(run, 200);
    return () => { clearTimeout(timer); stop.abort(); };
  }, [names.join()]);
  if (!may("history")) return html`<${Panel} title="Certificates" flush><${Empty} title="This key may not see certificates" hint="They need the scope history." /></${Panel}>`;
  if (!names.length) return html`<${Panel} title="Certificates" flush><${Empty} title="No symbol yet" hint="Each symbol gets a certificate a day: what was expected, what is stored, and the proof." /></${Panel}>`;
  return html`<${Panel} title="Certificates by symbol and UTC day"><div class="heat-grid" style=${{ "--days": DAYS }} tabindex="0" role="region" aria-label="Certificates">
    <div class="heat-row"><span></span>${days.map((day) => html`<span class="heat-head" key=${day}>${day.slice(8)}<br />${new Date(day).toLocaleDateString("en", { month: "short", timeZone: "UTC" })}</span>`)}</div>
    ${names.map((name) => html`<div class="heat-row" key=${name}><span class="cut" title=${name}>${name}</span>${days.map((day, i) => html`<${Cell} key=${day} ...${{ name, day, now: i === DAYS - 1, onPick: pick }} />`)}</div>`)}</div>
    <div class="legend"><span><${Tag} kind="good">✓</${Tag}>complete, proven</span><span><${Tag} kind="bad">!</${Tag}>incomplete</span><span><${Tag} kind="iffy">?</${Tag}>not provable</span><span><${Tag}>·</${Tag}>nothing recorded</span>${all.length > names.length && html`<button class="small right" onClick=${() => ask_more(true)}>More of ${number(all.length)} symbols</button>`}</div>
    ${picked && html`<${Certificate} ...${picked} onClose=${() => pick(null)} />`}</${Panel}>`;
}

function Cell({ name, day, now, onPick }) {
  const kept = certificates.get(`${name}|${day}`), told = kept?.told;
  const none = told && !told.certificate.channels.some((each) => each.records);
  const [kind, mark] = !kept ? ["", ""] : kept.error ? ["", "–"] : none ? ["", "·"] : LOOKS[told.verdict] || ["", "–"];
  const word = !kept ? "being worked out" : kept.error ? kept.error.message : none ? "nothing recorded" : told.verdict;
  return html`<button class=${`cell ${kind} ${now ? "now" : ""}`} disabled=${!told} aria-label=${`${name} ${day}: ${word}`} title=${`${day}: ${word}`} onClick=${() => onPick({ name, day, told })}>${mark}</button>`;
}

function Certificate({ name, day, told, onClose }) {
  const certificate = told.certificate;
  return html`<${Modal} title=${`${name}, ${day}`} onClose=${onClose} footer=${html`<button onClick=${onClose}>Close</button>`}>
    <p><${Tag} kind=${LOOKS[told.verdict]?.[0]}>${told.verdict}</${Tag}> <span class="quiet">${told.running ? "of what was recorded so far" : "of the whole day"}</span></p>
    <table><thead><tr><th>Channel</th><th class="num">Records</th><th class="num">Missing</th><th class="num">Gaps</th><th>Verdict</th></tr></thead><tbody>${certificate.channels.map((each) => html`<tr key=${each.channel}><td>${each.channel}</td><td class="num">${number(each.records)}</td><td class="num">${each.missing == null ? "not told" : number(each.missing)}</td><td class="num">${number(each.gaps.length)}</td><td>${each.verdict}</td></tr>`)}</tbody></table>
    ${certificate.reasons.length > 0 && html`<ul class="reasons soft">${certificate.reasons.slice(0, 12).map((each) => html`<li>${each}</li>`)}</ul>`}
    <p class="quiet">Proof, ${certificate.hash_version}</p><code class="words">${certificate.hash}</code></${Modal}>`;
}

function Quality() {
  const told = usePoll("/sources", 3000), list = told.data?.record;
  const kinds = [["stored", "Stored"], ["duplicates", "Repeats dropped"], ["out_of_order", "Out of order"], ["late", "Late"], ["stale", "Stale"], ["spike", "Spikes"], ["crossed", "Crossed"], ["non_positive", "Not positive"], ["clock_skew", "Clock skew"], ["missing_ids", "Ids missing"], ["quarantined", "Quarantined frames"], ["shed", "Shed"]];
  return html`<${Panel} title="Quality since the recorder started" flush>${!list ? html`<${Waiting} error=${told.error} what=${told.data ? "The recorder does not answer" : "Loading"} />` : html`<div class="scroll" tabindex="0" role="region" aria-label="Quality"><table><thead><tr><th>What</th>${list.map((each) => html`<th class="num" key=${each.name}>${each.name}</th>`)}</tr></thead>
    <tbody>${kinds.map(([key, text]) => html`<tr key=${key}><td>${text}</td>${list.map((each) => html`<td key=${each.name} class=${`num ${each.counts[key] && key !== "stored" && key !== "duplicates" ? "warn" : ""}`}>${number(each.counts[key])}</td>`)}</tr>`)}</tbody></table></div>`}</${Panel}>`;
}

function Spots() {
  const now = useWatched(board.status), keep = now?.data?.keep, spots = Object.entries(keep?.figures.spots || {});
  const names = { tape: "Lake against tape", venue: "Lake against venue", bars: "Bars against ticks" };
  return html`<${Panel} title="Spot checks" flush side=${html`<span class="right">${keep?.spot_pass_rate == null ? html`<span class="quiet">none yet</span>` : html`<${Tag} kind=${keep.spot_pass_rate >= .999 ? "good" : "bad"}>${number(keep.spot_pass_rate * 100, 3)} % pass</${Tag}>`}</span>`}>
    ${!keep ? html`<${Empty} title="keep does not run" hint="It compares what is stored with the tape and the venue." command="ticktape keep" />` : !spots.length ? html`<${Empty} title="None yet" hint="They begin once something is in the lake." />` : html`<div class="scroll"><table><thead><tr><th>Compared</th><th class="num">Samples</th><th class="num">Values</th><th class="num">Passed</th></tr></thead><tbody>${spots.map(([name, each]) => html`<tr key=${name}><td>${names[name] || name}</td><td class="num">${number(each.samples)}</td><td class="num">${number(each.checked)}</td><td class=${`num ${each.checked && each.passed < each.checked ? "warn" : ""}`}>${each.checked ? percent(each.passed / each.checked, 3).replace("+", "") : "–"}</td></tr>`)}</tbody></table></div>`}</${Panel}>`;
}

function Stored() {
  const told = usePoll("/pipeline/host", 10_000), first = useRef(null);
  if (!told.data) return html`<${Panel} title="Stored" flush><${Waiting} error=${told.error} /></${Panel}>`;
  if (!first.current) first.current = { at: told.at, by: Object.fromEntries(told.data.tables.map((each) => [each.table, each.bytes])) };
  const hours = (told.at - first.current.at) / 3.6e6, sum = told.data.tables.reduce((all, each) => all + each.bytes, 0);
  const growth = (each) => hours < 0.01 ? "–" : `${bytes(Math.max(0, each.bytes - first.current.by[each.table]))}`;
  return html`<${Panel} title="Lake" flush side=${html`<span class="right quiet">${bytes(sum)} lake, ${bytes(told.data.tape_bytes)} tape, ${bytes(told.data.disk_free)} free</span>`}><div class="scroll"><table><thead><tr><th>Table</th><th class="num">Size</th><th class="num">Files</th><th class="num">Grew since opened</th><th class="num">Kept</th></tr></thead>
    <tbody>${told.data.tables.map((each) => html`<tr key=${each.table}><td><b>${each.table}</b></td><td class="num">${bytes(each.bytes)}</td><td class="num">${number(each.files)}</td><td class="num">${growth(each)}</td><td class="num">${each.retain_days ? plural(each.retain_days, "day") : "for ever"}</td></tr>`)}</tbody></table></div></${Panel}>`;
}

export function Data() {
  return html`<div class="data"><${Ledger} /><${Calendar} /><div class="halves"><${Quality} /><div class="stack"><${Spots} /><${Stored} /></div></div></div>`;
}
