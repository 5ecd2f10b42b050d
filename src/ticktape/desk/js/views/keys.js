// API keys: who may what, made, rotated and revoked here; and what was asked with each. For keys with the scope admin.
import { ask, may, session, usePoll } from "../api.js";
import { html, toast, useState, useWatched } from "../core.js";
import { age, clock, full, number } from "../format.js";
import { route, adjust } from "../route.js";
import { Confirm, Empty, Modal, Panel, Tag, Waiting, copy } from "../ui.js";

const SCOPES = [["realtime", "the latest ticks, quotes, bars"], ["history", "ranges, bars, certificates"], ["stream", "WebSocket, server-sent events"], ["sql", "read-only SQL"], ["admin", "feeds, gaps, keys"]];
const seconds = (ns) => (Date.now() * 1e6 - ns) / 1e9;

function stateOf(key) {
  if (key.revoked_ns) return ["bad", "revoked"];
  if (key.expires_ns && key.expires_ns < Date.now() * 1e6) return ["", "expired"];
  return ["good", "good"];
}

export function Keys() {
  const told = usePoll("/keys", 5000), { query } = useWatched(route);
  const [making, make] = useState(false), [made, show] = useState(null), [ending, end] = useState(null), [all, widen] = useState(false);
  if (!may("admin")) return html`<${Empty} title="This key manages no keys" hint="That needs the scope admin." command="ticktape key create --scopes admin" />`;
  const revoke = async () => {
    const { prefix, name } = ending;
    end(null);
    try { await ask(`/keys/${prefix}`, { method: "DELETE" }); toast(`${name} is revoked: nothing opens with it any more`, "good"); told.again(); }
    catch (error) { toast(error.message, "bad"); }
  };
  const rotate = async (key) => {
    try { show(await ask(`/keys/${key.prefix}/rotate`, { method: "POST", body: { overlap_s: 86400 } })); told.again(); }
    catch (error) { toast(error.message, "bad"); }
  };
  const keys = [...(told.data?.keys || [])].reverse(), shown = all ? keys : keys.filter((key) => stateOf(key)[1] === "good");
  const side = html`<span class="right"></span>${keys.length > shown.length || all ? html`<button class="small bare" onClick=${() => widen(!all)}>${all ? "Only good ones" : `Show ${keys.length - shown.length} ended`}</button>` : ""}<button class="small main" onClick=${() => make(true)}>New key</button>`;
  return html`<div class="data"><${Panel} title="API keys" flush side=${side}>${!told.data ? html`<${Waiting} error=${told.error} />` : html`<div class="scroll" tabindex="0" role="region" aria-label="Keys"><table><thead><tr><th>Name</th><th>Begins with</th><th>State</th><th>May</th><th>Symbols</th><th>Last used</th><th>Ends</th><th><span class="only-read">Actions</span></th></tr></thead>
    <tbody>${shown.map((key) => html`<tr key=${key.prefix}><td><b class="words">${key.name}</b>${key.prefix === session.value?.who.prefix && html` <${Tag} kind="info">this tab</${Tag}>`}</td><td class="mono">tt_${key.prefix}</td><td><${Tag} kind=${stateOf(key)[0]}>${stateOf(key)[1]}</${Tag}></td><td>${SCOPES.filter(([name]) => key.scopes.includes(name)).map(([name]) => name).join(", ")}</td><td class="words">${key.symbols ? key.symbols.slice(0, 4).join(", ") + (key.symbols.length > 4 ? ` and ${key.symbols.length - 4} more` : "") : html`<span class="quiet">all</span>`}</td>
      <td>${key.last_used_ns ? `${age(seconds(key.last_used_ns))} ago` : html`<span class="quiet">never</span>`}</td><td>${key.expires_ns ? full(key.expires_ns) : html`<span class="quiet">never</span>`}</td>
      <td class="num"><button class="small bare" onClick=${() => adjust({ key: key.prefix })}>History</button>${stateOf(key)[1] === "good" && html`<button class="small bare" title="A new key with the same rights; the old one ends in a day" onClick=${() => rotate(key)}>Rotate</button><button class="small danger" onClick=${() => end(key)}>Revoke</button>`}</td></tr>`)}</tbody></table></div>`}</${Panel}>
    ${query.key && html`<${History} prefix=${query.key} onClose=${() => adjust({ key: "" })} />`}
    ${making && html`<${Making} onClose=${() => make(false)} onMade=${(answer) => { make(false); show(answer); told.again(); }} />`}${made && html`<${Made} made=${made} onClose=${() => show(null)} />`}
    ${ending && html`<${Confirm} title=${`Revoke ${ending.name}?`} danger action="Revoke" text=${ending.prefix === session.value?.who.prefix ? "It is the key of this tab: you will be signed out. Nothing opens with it any more." : "Whoever uses it is refused at once, open streams included. It cannot be brought back."} onYes=${revoke} onNo=${() => end(null)} />`}</div>`;
}

function Making({ onClose, onMade }) {
  const [scopes, set] = useState(["realtime", "history", "stream"]), [error, fail] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target), list = (name) => { const found = form.get(name).split(/[\s,]+/).filter(Boolean); return found.length ? found : null; };
    try { onMade(await ask("/keys", { method: "POST", body: { name: form.get("name"), scopes, symbols: list("symbols"), addresses: list("addresses"), expires_days: Number(form.get("days")) || null, per_s: Number(form.get("rate")) || 2000 } })); }
    catch (refused) { fail(`${refused.message}${refused.hint ? ` (${refused.hint})` : ""}`); }
  };
  const field = (name, label, more) => html`<div class=${`field ${more.wide ? "all" : ""}`}><label for=${`new-${name}`}>${label}</label><input id=${`new-${name}`} name=${name} autocomplete="off" ...${more.input} /></div>`;
  return html`<${Modal} title="New key" onClose=${onClose}><form class="form" onSubmit=${submit}>${field("name", "Name, for you to know it by", { wide: true, input: { required: true, maxlength: 100, autofocus: true } })}
    <fieldset class="all stack" style=${{ border: 0, padding: 0, margin: 0, gap: "7px" }}><legend class="soft">May</legend>${SCOPES.map(([name, text]) => html`<label class="check" key=${name}><input type="checkbox" checked=${scopes.includes(name)} onChange=${(event) => set(event.target.checked ? [...scopes, name] : scopes.filter((each) => each !== name))} /><b>${name}</b><span class="quiet">${text}</span></label>`)}</fieldset>
    ${field("symbols", "Only these symbols (empty: all)", { wide: true, input: { placeholder: "BTCUSDT, ETHUSDT" } })}${field("addresses", "Only from these addresses (empty: any)", { wide: true, input: { placeholder: "10.0.0.0/8" } })}${field("days", "Ends after days (empty: never)", { input: { type: "number", min: "0.01", step: "any" } })}${field("rate", "Requests a second", { input: { type: "number", min: "1", value: "2000" } })}
    ${error && html`<p class="down all" role="alert">${error}</p>`}<div class="row all"><span class="right"></span><button type="button" onClick=${onClose}>Cancel</button><button class="main" disabled=${!scopes.length}>Create</button></div></form></${Modal}>`;
}

function Made({ made, onClose }) {
  return html`<${Modal} title=${`${made.info.name} is made`} onClose=${onClose} footer=${html`<button class="main" onClick=${onClose}>I have it</button>`}><p class="soft">Shown now and never again: only a fingerprint of it is kept.</p>
    <div class="secret"><code>${made.key}</code><button onClick=${() => copy(made.key).then(() => toast("Copied", "good"), () => toast("This browser does not let pages copy: select it", "bad"))}>Copy</button></div></${Modal}>`;
}

function History({ prefix, onClose }) {
  const told = usePoll(`/keys/${encodeURIComponent(prefix)}/history?limit=200`, 5000), data = told.data;
  return html`<${Panel} title=${data ? `What ${data.name} asked` : "History"} flush side=${html`<span class="quiet">${data ? (data.whole ? "all of it" : "the newest part") : ""}</span><button class="small right" onClick=${onClose}>Close</button>`}>${!data ? html`<${Waiting} error=${told.error} />` : !data.entries.length ? html`<${Empty} title="Nothing yet" />` : html`<div class="scroll tall" tabindex="0" role="region" aria-label="Requests"><table><thead><tr><th>When</th><th>Request</th><th>Said</th><th class="num">Rows</th><th class="num">Took</th><th>Came to</th></tr></thead>
    <tbody>${[...data.entries].reverse().map((each, i) => html`<tr key=${each.request_id || i}><td>${clock(each.ts)}</td><td class="mono words">${each.route}</td><td class="mono words">${typeof each.said === "string" ? each.said : each.said ? Object.entries(each.said).map(([name, value]) => `${name}=${value}`).join(" ") : ""}</td><td class="num">${each.rows == null ? "–" : number(each.rows)}</td><td class="num">${number(each.us / 1000, 1)} ms</td><td><${Tag} kind=${each.status < 400 ? "good" : "bad"}>${each.status}${each.code ? ` ${each.code}` : ""}</${Tag}></td></tr>`)}</tbody></table></div>`}</${Panel}>`;
}
