// Small things that several views show.
import { html, useLayoutEffect, useRef } from "./core.js";

export const Dot = ({ kind = "" }) => html`<i class=${`dot ${kind}`} aria-hidden="true"></i>`;
export const Tag = ({ kind = "", children }) => html`<span class=${`tag ${kind}`}>${children}</span>`;

export function Panel({ title, side, children, flush, name = "" }) {
  return html`<section class=${`panel ${name}`} aria-label=${title}>
    <header><h2>${title}</h2>${side}</header>
    ${flush ? children : html`<div class="body">${children}</div>`}
  </section>`;
}

export function Empty({ title, hint, command, children }) {
  return html`<div class="empty"><strong>${title}</strong>${hint && html`<span>${hint}</span>`}${command && html`<code>${command}</code>`}${children}</div>`;
}

/** What an ask came to while there are no data: nothing yet, or why not. */
export function Waiting({ error, what = "Loading" }) {
  if (!error) return html`<${Empty} title=${what} />`;
  if (error.status === 403) return html`<${Empty} title="This key may not see that" hint=${error.message} command=${error.hint} />`;
  if (error.status === 503) return html`<${Empty} title="Not there yet" hint=${error.message} command=${error.hint} />`;
  return html`<${Empty} title=${error.message} command=${error.hint} />`;
}

/** A line of the last values; scaled to itself. Read out as words. */
export function Spark({ values, label, base }) {
  const many = values.length;
  if (many < 2) return html`<svg class="spark" viewBox="0 0 100 30" role="img" aria-label=${label}></svg>`;
  const low = base ?? Math.min(...values), high = Math.max(...values), span = high - low || 1;
  const at = values.map((value, i) => `${(i / (many - 1) * 100).toFixed(1)} ${(28 - (value - low) / span * 26).toFixed(1)}`);
  return html`<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label=${label}>
    <path class="fill" d=${`M0 30L${at.join("L")}L100 30Z`} /><path d=${`M${at.join("L")}`} /></svg>`;
}

export function Meter({ share, kind = "", label }) {
  const width = Math.max(0, Math.min(1, share || 0));
  return html`<div class=${`meter ${kind}`} role="meter" aria-valuenow=${Math.round(width * 100)} aria-valuemin="0" aria-valuemax="100" aria-label=${label}><i style=${{ width: `${width * 100}%` }}></i></div>`;
}

/** A modal that the browser keeps focus in; Escape closes it. */
export function Modal({ title, onClose, children, footer, name = "" }) {
  const ref = useRef(null);
  // Before the next key is heard: what is typed right after / belongs into the field.
  useLayoutEffect(() => { if (ref.current && !ref.current.open) ref.current.showModal(); }, []);
  return html`<dialog ref=${ref} class=${name} aria-label=${title} onCancel=${(event) => { event.preventDefault(); onClose(); }}
    onClick=${(event) => event.target === ref.current && onClose()}>
    ${!name && html`<header>${title}</header>`}${name ? children : html`<div class="body">${children}</div>`}${footer && html`<footer>${footer}</footer>`}
  </dialog>`;
}

export function Confirm({ title, text, action, danger, onYes, onNo }) {
  return html`<${Modal} title=${title} onClose=${onNo} footer=${html`
    <button onClick=${onNo}>Cancel</button><button class=${danger ? "danger" : "main"} onClick=${onYes}>${action}</button>`}>
    <p class="soft">${text}</p></${Modal}>`;
}

export function Tabs({ of, value, onPick, label }) {
  return html`<div class="tabs" role="group" aria-label=${label}>${of.map(([key, text]) => html`
    <button key=${key} aria-pressed=${String(key === value)} onClick=${() => onPick(key)}>${text}</button>`)}</div>`;
}

export async function copy(text) { await navigator.clipboard.writeText(text); }
