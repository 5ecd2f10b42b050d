// Where we are: the part of the address after #, so that every view can be linked to, and Back goes back.
import { watched } from "./core.js";

export const VIEWS = ["overview", "market", "data", "query", "keys", "samples"];

function read() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [view, ...rest] = path.split("/");
  let arg = rest.join("/");
  try { arg = decodeURIComponent(arg); } catch { arg = ""; }
  return { view: VIEWS.includes(view) ? view : "overview", arg, query: Object.fromEntries(new URLSearchParams(query)) };
}
export const route = watched(read());
addEventListener("hashchange", () => route.set(read()));

export function href(view, arg = "", query = {}) {
  const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value != null));
  return `#/${view}${arg ? "/" + encodeURIComponent(arg) : ""}${said.size ? "?" + said : ""}`;
}
export function go(view, arg, query) { location.hash = href(view, arg, query); }
/** Change only the query, without a new step for Back. */
export function adjust(change) {
  const { view, arg, query } = route.value;
  history.replaceState(null, "", href(view, arg, { ...query, ...change }));
  route.set(read());
}
