// The public API, with a key like anyone. The key lives in sessionStorage: it is gone when the tab is.
import { useEffect, useRef, useState, watched } from "./core.js";

const KEPT = "ticktape.key";
export const session = watched(null); // {key, who}
export const why = watched(""); // why somebody has to sign in

export class Refused extends Error {
  constructor(status, told) {
    super(told.message);
    this.status = status; this.code = told.code; this.hint = told.hint || "";
  }
}

const MOST_TRIES = 4;

export async function ask(path, { method = "GET", body, accept, signal, key, tries = 1 } = {}) {
  const headers = { Authorization: `Bearer ${key || session.value?.key || ""}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (accept) headers.Accept = accept;
  let answer;
  try {
    answer = await fetch(`/api/v1${path}`, { method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, { code: "unreachable", message: "ticktape does not answer", hint: "ticktape up" });
  }
  if (answer.ok) return accept ? answer : answer.json();
  if (answer.status === 429 && method === "GET" && tries < MOST_TRIES) { // it says when: asked again then, as a person would
    await new Promise((done) => setTimeout(done, 1000 * Math.min(10, Number(answer.headers.get("Retry-After")) || 1)));
    if (signal?.aborted) throw new DOMException("not wanted any more", "AbortError");
    return ask(path, { method, body, accept, signal, key, tries: tries + 1 });
  }
  throw await refusal(answer, !key);
}

async function refusal(answer, signedIn) {
  let told = { code: "internal", message: `the server answered ${answer.status}` };
  try { told = (await answer.json()).error || told; } catch { /* a proxy's page, not ours: the status says it */ }
  if (answer.status === 401 && signedIn) leave("This key is no longer good. Sign in again.");
  return new Refused(answer.status, told);
}

export async function enter(key) {
  const who = await ask("/keys/self", { key });
  sessionStorage.setItem(KEPT, key);
  why.set("");
  session.set({ key, who });
}
export function leave(because = "") {
  sessionStorage.removeItem(KEPT);
  why.set(because);
  session.set(null);
}
export const may = (scope) => Boolean(session.value?.who.scopes.includes(scope));

/** Sign in by what there is: a one-time code in the address (taken out of it at once), or the key of this tab. */
export async function resume() {
  const code = new URLSearchParams(location.hash.slice(1)).get("k");
  if (code !== null) {
    history.replaceState(null, "", location.pathname + "#/overview");
    const answer = await fetch("/desk/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code }) });
    if (answer.ok) { await enter((await answer.json()).key); return; }
    why.set((await refusal(answer, false)).message);
  }
  const kept = sessionStorage.getItem(KEPT);
  if (!kept) return;
  try { await enter(kept); }
  catch (error) {
    if (error.status === 401 || error.status === 403) leave(error.message); else { why.set(error.message); throw error; }
  }
}

/** Ask again and again while the page is looked at. Returns {data, error, at, again}; data stay when an ask fails. */
export function usePoll(path, everyMs, { on = true, map = (data) => data } = {}) {
  const [state, set] = useState({ data: null, error: null, at: 0 });
  const again = useRef(() => {});
  useEffect(() => {
    if (!on || !path) return undefined;
    const stop = new AbortController();
    let timer = 0;
    const run = async () => {
      clearTimeout(timer);
      if (!document.hidden) {
        try {
          const data = map(await ask(path, { signal: stop.signal }));
          set({ data, error: null, at: Date.now() });
        } catch (error) {
          if (stop.signal.aborted) return;
          set((before) => ({ ...before, error }));
        }
      }
      if (!stop.signal.aborted && everyMs) timer = setTimeout(run, everyMs);
    };
    again.current = run;
    run();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [path, everyMs, on]);
  return { ...state, again: () => again.current() };
}
