// What every view stands on: preact, values that can be watched, and a loop that paints at most ten times a second.
import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useRef, useState } from "../lib/preact.js";

export { html, render, useEffect, useErrorBoundary, useLayoutEffect, useMemo, useRef, useState };

/** A value that can be watched. */
export function watched(value) {
  const told = new Set();
  return {
    get value() { return value; },
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const tell of [...told]) tell(value);
    },
    watch(tell) { told.add(tell); return () => told.delete(tell); },
  };
}

/** Draw a component again whenever a watched value changes. */
export function useWatched(source) {
  const [value, set] = useState(source.value);
  useEffect(() => {
    set(() => source.value); // it may have changed between the drawing and now
    return source.watch((next) => set(() => next));
  }, [source]);
  return source.value === value ? value : source.value;
}

const painters = new Set();
let asked = false, last = 0;
export const FRAME_MS = 100, SLICE_MS = 12; // between paints; of a frame that paints may take
let unfinished = false;
export const frames = { painted: 0, slowest: 0 };

function paint(now) {
  asked = false;
  if (!unfinished && now - last < FRAME_MS - 4) { ask(); return; }
  if (!unfinished) last = now;
  unfinished = false;
  const began = performance.now();
  for (const painter of [...painters]) {
    if (!painter.due) continue;
    if (performance.now() - began > SLICE_MS) { unfinished = true; ask(); break; } // the rest with the next frame
    painter.due = false;
    painters.delete(painter); painters.add(painter); // whoever was drawn goes to the end of the line
    painter.draw(now);
  }
  frames.painted += 1;
  frames.slowest = Math.max(frames.slowest, performance.now() - began);
}
function ask() { if (!asked) { asked = true; requestAnimationFrame(paint); } }

/** Register what draws from the newest state; `touch()` asks for it. Frames that do not fit are left out, not queued. */
export function painter(draw) {
  const mine = { draw, due: false };
  painters.add(mine);
  return { touch() { mine.due = true; ask(); }, stop() { painters.delete(mine); } };
}

/** Keep a text node's text without touching the page when it did not change. */
export function put(node, text) { if (node.textContent !== text) node.textContent = text; }

export function remember(name, value) {
  try { value == null ? localStorage.removeItem(name) : localStorage.setItem(name, JSON.stringify(value)); }
  catch { /* a browser that keeps nothing: the choice lasts as long as the page */ }
}
export function recall(name, otherwise) {
  try { const found = localStorage.getItem(name); return found === null ? otherwise : JSON.parse(found); }
  catch { return otherwise; }
}

export const toasts = watched([]);
let toastId = 0;
export function toast(text, kind = "") {
  const mine = { id: ++toastId, text, kind };
  toasts.set([...toasts.value.slice(-3), mine]);
  setTimeout(() => toasts.set(toasts.value.filter((each) => each !== mine)), kind === "bad" ? 9000 : 4500);
}
