// Numbers and times as people read them. Times: the user's zone, the venue's or UTC, chosen once.
import { recall, remember, watched } from "./core.js";

const VENUE_ZONES = [[/^CME|CBOT|NYMEX|COMEX|CFE|Cboe/i, "America/Chicago"], [/NYSE|NASDAQ|US equit/i, "America/New_York"]];
export const zone = watched(recall("ticktape.zone", "mine"));
export function chooseZone(name) { zone.set(name); remember("ticktape.zone", name); made.clear(); }
let venue = "UTC";
export function useVenueOf(calendar) {
  const found = VENUE_ZONES.find(([pattern]) => pattern.test(calendar || ""));
  const next = found ? found[1] : "UTC";
  if (next !== venue) { venue = next; made.clear(); }
}
export function zoneName() {
  if (zone.value === "utc") return "UTC";
  return zone.value === "venue" ? venue : Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
}
const made = new Map();
function formatter(kind) {
  const key = kind + zoneName();
  if (!made.has(key)) {
    const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
    const shapes = {
      time, ms: { ...time, fractionalSecondDigits: 3 }, minute: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
      day: { day: "2-digit", month: "short" }, full: { year: "numeric", month: "2-digit", day: "2-digit", ...time },
    };
    made.set(key, new Intl.DateTimeFormat("en-GB", { ...shapes[kind], timeZone: zoneName() }));
  }
  return made.get(key);
}
export const ms = (ns) => Number(ns) / 1e6;
function shown(kind, ns) { // what is no time, or none that a calendar has, is a dash
  const at = ns == null ? NaN : ms(ns);
  return Math.abs(at) < 8.64e15 ? formatter(kind).format(at) : "–";
}
export const clock = (ns) => shown("time", ns);
export const clockMs = (ns) => shown("ms", ns);
export const minute = (ns) => shown("minute", ns);
export const day = (ns) => shown("day", ns);
export const full = (ns) => shown("full", ns).replace(",", "");
export const utcDate = (at) => new Date(at).toISOString().slice(0, 10);

const grouped = new Map();
export function number(value, digits = 0) {
  if (value == null || Number.isNaN(value)) return "–";
  if (!grouped.has(digits)) grouped.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return grouped.get(digits).format(value);
}
export function short(value) {
  if (value == null) return "–";
  const steps = [[1e9, "B"], [1e6, "M"], [1e4, "k"]];
  for (const [size, letter] of steps) if (Math.abs(value) >= size) return number(value / (letter === "k" ? 1e3 : size), 1) + letter;
  return number(value, Math.abs(value) < 100 && value % 1 ? 2 : 0);
}
export function bytes(value) {
  if (value == null) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) { value /= 1000; at += 1; }
  return `${number(value, at && value < 100 ? 1 : 0)} ${units[at]}`;
}
export function age(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) return "0 s";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${number(seconds / 3600, 1)} h` : `${number(seconds / 86400, 1)} d`;
}
/** How many decimals a step has: 0.25 has 2, 1e-8 has 8. */
export function decimals(step) {
  if (!step || !Number.isFinite(step)) return 2;
  for (let digits = 0; digits < 12; digits++) if (Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) < 1e-9 * 10 ** digits) return digits;
  return 8;
}
export const percent = (share, digits = 2) => share == null ? "–" : `${share > 0 ? "+" : ""}${number(share * 100, digits)} %`;
export const plural = (count, one, many = one + "s") => `${number(count)} ${count === 1 ? one : many}`;
export const localInput = (at) => new Date(at - new Date(at).getTimezoneOffset() * 60000).toISOString().slice(0, 19);
