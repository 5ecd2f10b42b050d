// Is every feed healthy, is the machine, is today whole. An admin's key may pause, resume and restart feeds.
import { ask, may, usePoll } from "../api.js";
import * as board from "../board.js";
import { html, toast, useEffect, useMemo, useState, useWatched } from "../core.js";
import { age, bytes, clock, full, number, plural, short, utcDate } from "../format.js";
import { href } from "../route.js";
import { Confirm, Dot, Empty, Meter, Panel, Spark, Tag, Waiting } from "../ui.js";

const DAY_MS = 86_400_000, MOST_DAYS = 14;

function kindOf(source, feed) {
  if (source.status === "stopped") return ["iffy", "paused"];
  if (source.status !== "up") return ["bad", source.status];
  if (feed?.alerts.includes("feed_stale")) return ["bad", "stale"];
  if (feed && !feed.expected) return ["", "market closed"];
  return feed && !feed.healthy ? ["iffy", "needs a look"] : ["good", "up"];
}

function useGapsToday() {
  const since = Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const told = usePoll("/gaps?limit=2000", 5000);
  return useMemo(() => {
    const by = new Map();
    for (const gap of told.data?.gaps || []) {
      if ((gap.end ?? Infinity) / 1e6 < since) continue;
      const mine = by.get(gap.source) || by.set(gap.source, { all: 0, open: 0 }).get(gap.source);
      mine.all += 1;
      if (gap.state === "opened") mine.open += 1;
    }
    return by;
  }, [told.data]);
}

function Feeds() {
  const now = useWatched(board.status), feeds = useWatched(board.feeds), gaps = useGapsToday();
  const recorder = usePoll("/sources", 3000);
  const [asked, confirm] = useState(null), [busy, work] = useState("");
  const act = async () => {
    const { name, verb } = asked;
    confirm(null); work(name);
    try { await ask(`/sources/${encodeURIComponent(name)}/${verb}`, { method: "POST" }); toast(`${name}: ${{ start: "resumed", stop: "paused", restart: "restarted" }[verb]}`, "good"); }
    catch (error) { toast(`${name}: ${error.message}`, "bad"); }
    finally { work(""); recorder.again(); }
  };
  if (!now?.data) return html`<${Panel} title="Feeds" flush><${Waiting} error=${now?.error} /></${Panel}>`;
  if (!now.data.sources.length) return html`<${Panel} title="Feeds" flush><${Empty} title="No feed yet" hint="A feed shows here with its first tick." command="ticktape up" /></${Panel}>`;
  return html`<${Panel} title="Feeds" flush side=${html`<span class="right quiet">${plural(now.data.instruments, "symbol")}</span>`}>
    <div class="feeds">${now.data.sources.map((source) => html`<${Feed} key=${source.name} ...${{ source, feed: feeds?.data?.feeds.find((each) => each.name === source.name), gaps: gaps.get(source.name),
      told: recorder.data?.record?.find?.((each) => each.name === source.name), busy: busy === source.name, onAct: (verb) => confirm({ name: source.name, verb }) }} />`)}</div>
    ${asked && html`<${Confirm} title=${`${{ start: "Resume", stop: "Pause", restart: "Restart" }[asked.verb]} ${asked.name}?`} danger=${asked.verb !== "start"} action=${{ start: "Resume", stop: "Pause", restart: "Restart" }[asked.verb]}
      text=${{ start: "It connects again; what it missed is fetched where the venue has it.", stop: "Nothing is recorded from it until it is resumed. That time is declared as a gap.", restart: "It reconnects. The seconds in between are declared as a gap and fetched again where the venue has them." }[asked.verb]} onYes=${act} onNo=${() => confirm(null)} />`}
  </${Panel}>`;
}

function Feed({ source, feed, gaps, told, busy, onAct }) {
  const [kind, word] = kindOf(source, feed), trail = board.rates.get(source.name) || [], stopped = source.status === "stopped";
  const restarts = told ? Math.max(0, told.counts.connects - 1) : null;
  const cells = [["Lag", age(feed?.lag_s)], ["Last tick", source.age_s == null ? "none" : `${age(source.age_s)} ago`], ["Gaps today", gaps ? number(gaps.all) : "0", gaps?.open ? "down" : ""], ["Reconnects", restarts == null ? "–" : number(restarts)], ["Doubtful", number(source.doubtful), source.doubtful ? "warn" : ""], ["Quarantined", number(source.quarantined), source.quarantined ? "warn" : ""]];
  return html`<article class="feed" aria-label=${`Feed ${source.name}`}>
    <div class="feed-name"><div class="row"><${Dot} kind=${kind} /><strong class="cut" title=${source.name}>${source.name}</strong></div><span class=${`soft ${kind === "bad" ? "down" : kind === "iffy" ? "warn" : ""}`}>${word}${source.since ? html`<span class="quiet"> since ${clock(Date.parse(source.since) * 1e6)}</span>` : ""}</span></div>
    <div class="feed-rate"><span><b>${number(source.per_s, source.per_s < 10 ? 1 : 0)}</b> <span class="quiet">records/s</span></span><${Spark} values=${trail} base=${0} label=${`rate of the last ${trail.length} seconds, now ${Math.round(source.per_s)} a second`} /></div>
    <dl class="facts">${cells.map(([name, value, tone = ""]) => html`<div><dt>${name}</dt><dd class=${tone}>${value}</dd></div>`)}</dl>
    ${may("admin") && html`<div class="feed-do">${stopped ? html`<button class="small main" disabled=${busy} onClick=${() => onAct("start")}>Resume</button>` : html`<button class="small" disabled=${busy} onClick=${() => onAct("stop")}>Pause</button>`}<button class="small" disabled=${busy || stopped} onClick=${() => onAct("restart")}>${busy ? "Working" : "Restart"}</button></div>`}
    ${told?.trouble && html`<p class="feed-trouble warn">${told.trouble}</p>`}
  </article>`;
}

function Machine() {
  const host = usePoll("/pipeline/host", 15_000), now = useWatched(board.status);
  const data = host.data;
  if (!data) return html`<${Panel} title="Machine" flush><${Waiting} error=${host.error} /></${Panel}>`;
  const keep = now?.data?.keep, late = keep && keep.seconds_since_flush != null ? keep.seconds_since_flush / keep.flush_every_s : null;
  const free = data.disk_free / data.disk_total, memory = data.memory_total ? 1 - data.memory_available / data.memory_total : null;
  const lake = data.tables.reduce((sum, each) => sum + each.bytes, 0), next = data.credentials[0];
  const line = (name, value, meter) => html`<div class="gauge"><div class="row"><span class="soft">${name}</span><span class="right">${value}</span></div>${meter}</div>`;
  return html`<${Panel} title="Machine"><div class="gauges">
    ${line("Disk", `${bytes(data.disk_free)} free of ${bytes(data.disk_total)}`, html`<${Meter} share=${1 - free} kind=${free < .05 ? "bad" : free < .15 ? "iffy" : ""} label="Disk used" />`)}
    ${memory != null && line("Memory", `${bytes(data.memory_available)} free, server ${bytes(data.memory_used)}`, html`<${Meter} share=${memory} kind=${memory > .95 ? "bad" : memory > .85 ? "iffy" : ""} label="Memory used" />`)}
    ${line("Flush to the lake", keep ? `${keep.seconds_since_flush == null ? "none yet" : age(keep.seconds_since_flush) + " ago"}, every ${age(keep.flush_every_s)}` : "keep does not run", keep && html`<${Meter} share=${late} kind=${late > 3 ? "bad" : late > 1.5 ? "iffy" : ""} label="Time since the last flush" />`)}
    ${line("Stored", `${bytes(lake)} lake, ${bytes(data.tape_bytes)} tape`)}
    ${line("Behind the tape", now?.data ? plural(now.data.tape.behind, "record") : "–")}
    ${line("Credentials", next ? html`<span class=${next.days_left < 2 ? "warn" : ""}>${next.name}: ${age(next.days_left * 86400)} left</span>` : "none that ends")}
  </div></${Panel}>`;
}

/** The certificates of today, one symbol after another: each is worked out by the server, so none is asked for in parallel. */
function useToday(names) {
  const [found, set] = useState({}), key = names.join();
  useEffect(() => {
    if (!key || !may("history")) return undefined;
    const stop = new AbortController();
    const run = async () => {
      const today = utcDate(Date.now());
      for (const name of names) {
        while (document.hidden && !stop.signal.aborted) await new Promise((done) => setTimeout(done, 1000));
        if (stop.signal.aborted) return;
        try { const told = await ask(`/completeness/${encodeURIComponent(name)}/${today}`, { signal: stop.signal }); set((before) => ({ ...before, [name]: told })); }
        catch (error) { if (stop.signal.aborted) return; set((before) => ({ ...before, [name]: { error } })); }
      }
      timer = setTimeout(run, 30_000);
    };
    let timer = setTimeout(run, 300);
    return () => { stop.abort(); clearTimeout(timer); };
  }, [key]);
  return found;
}

const TONE = { "complete": "good", "complete after fill": "good", "incomplete": "bad", "not provable": "iffy" };

function Today() {
  const all = useWatched(board.symbols), [wide, widen] = useState(false);
  const names = useMemo(() => all.slice(0, wide ? 60 : MOST_DAYS).map((each) => each.symbol), [all, wide]);
  const found = useToday(names);
  const side = html`<span class="right quiet wide">UTC day ${utcDate(Date.now())}, hour by hour</span>`;
  if (!may("history")) return html`<${Panel} title="Today's completeness" flush><${Empty} title="This key may not see that" hint="It needs the scope history." /></${Panel}>`;
  if (!names.length) return html`<${Panel} title="Today's completeness" flush><${Empty} title="No symbol yet" hint="Each symbol gets a bar that fills as its day is recorded." /></${Panel}>`;
  return html`<${Panel} title="Today's completeness" side=${side}><div class="days">${names.map((name) => html`<${DayBar} key=${name} name=${name} told=${found[name]} />`)}</div>
    <div class="legend"><span><i class="key have"></i>recorded</span><span><i class="key fill"></i>filled later</span><span><i class="key hole"></i>missing</span><span><i class="key shut"></i>closed or not recorded</span>
    ${all.length > names.length && html`<button class="small right" onClick=${() => widen(true)}>Show more of ${number(all.length)}</button>`}</div></${Panel}>`;
}

function DayBar({ name, told }) {
  const certificate = told?.certificate, word = told?.error ? told.error.message : told?.verdict || "asking";
  const trade = certificate?.channels.find((each) => each.channel === "trade") || certificate?.channels[0];
  const at = (ns) => Math.max(0, Math.min(100, (ns - certificate.start) / (certificate.end - certificate.start) * 100));
  const piece = (from, to, kind, i) => html`<i key=${kind + i} class=${kind} style=${{ left: `${at(from)}%`, width: `max(2px, ${at(to) - at(from)}%)` }}></i>`;
  const gaps = trade?.gaps || [];
  return html`<a class="day" href=${href("data", "", { symbol: name })}><span class="cut" title=${name}>${name}</span>
    <span class="day-bar" role="img" aria-label=${`${name}: ${word}${trade ? `, ${number(trade.records)} trades, ${plural(gaps.length, "gap")}` : ""}`}>${certificate && trade && html`
      ${trade.first_ts && piece(trade.first_ts, trade.last_ts, "have", 0)}${gaps.map((gap, i) => piece(gap.start, gap.end ?? certificate.end, gap.state === "filled" ? "fill" : "hole", i))}`}</span>
    <span class="wide num soft">${trade ? short(trade.records) : ""}</span><${Tag} kind=${told?.error ? "" : TONE[told?.verdict] || ""}>${told?.error ? "not known" : told?.running && word === "complete" ? "complete so far" : word}</${Tag}></a>`;
}

function Alerts() {
  const told = useWatched(board.alerts), all = told?.data?.alerts || [];
  const standing = all.filter((each) => each.cleared === null), past = all.filter((each) => each.cleared !== null).slice(0, 8);
  const line = (each) => html`<li key=${each.id}><${Dot} kind=${each.cleared !== null ? "" : each.severity === "critical" ? "bad" : "iffy"} /><div class="grow"><div class="words">${each.message}</div><div class="quiet">${each.kind.replaceAll("_", " ")}, ${each.subject}, ${full(each.raised)}${each.cleared ? `, over after ${age((each.cleared - each.raised) / 1e9)}` : ""}</div></div></li>`;
  return html`<${Panel} title="Alerts" flush side=${html`<span class="right"><${Tag} kind=${standing.length ? "bad" : "good"}>${standing.length ? `${standing.length} now` : "nothing wrong"}</${Tag}></span>`}>
    ${!told?.data ? html`<${Waiting} error=${told?.error} />` : !all.length ? html`<${Empty} title="No alert since this world began" hint="Stale feeds, gaps, lag, a full disk and failed checks show here." />` : html`<ul class="alerts">${standing.map(line)}${past.map(line)}</ul>`}</${Panel}>`;
}

function Parts() {
  const told = usePoll("/pipeline/health", 3000);
  return html`<div class="parts" aria-label="Services" role="list">${(told.data?.parts || []).map((part) => html`<div class="part panel" role="listitem" key=${part.name} title=${part.alerts.join("\n")}><${Dot} kind=${part.ok ? "good" : "bad"} /><span>${part.name}</span><span class="right quiet">${part.ok ? "ok" : plural(part.alerts.length, "alert")}</span></div>`)}</div>`;
}

export function Overview() {
  return html`<div class="overview"><${Parts} /><div class="columns"><div class="stack"><${Feeds} /><${Today} /></div><div class="stack"><${Machine} /><${Alerts} /></div></div></div>`;
}
