// The stream: one socket, what it should carry, and coming back by itself. Nothing is queued here: who listens keeps the newest.
import { session } from "./api.js";
import { watched } from "./core.js";

const LONGEST_MS = 10_000, SILENT_MS = 15_000; // the server says something every five seconds

export class Stream {
  /** wants(): the subscribe messages of a fresh socket. on(type, message): everything that comes. */
  constructor(wants, on) {
    this.wants = wants; this.on = on;
    this.state = watched({ name: "connecting", since: Date.now() });
    this.tries = 0; this.heard = 0; this.over = false;
    this.guard = setInterval(() => this.check(), 3000);
    this.open();
  }
  open() {
    if (this.over) return;
    this.say("connecting");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = this.socket = new WebSocket(`${scheme}://${location.host}/api/v1/stream`);
    this.heard = Date.now();
    socket.onopen = () => socket.send(JSON.stringify({ op: "auth", key: session.value?.key || "" }));
    socket.onmessage = (event) => { if (socket === this.socket) this.take(JSON.parse(event.data)); };
    socket.onclose = (event) => { if (socket === this.socket) this.lost(event); };
  }
  take(message) {
    this.heard = Date.now();
    if (message.type === "welcome") {
      this.tries = 0;
      this.say("open");
      for (const want of this.wants()) this.send(want);
    }
    this.on(message.type, message);
  }
  lost(event) {
    this.socket = null;
    if (this.over) return;
    this.say("closed", event.reason);
    this.on("closed", { code: event.code, reason: event.reason });
    const wait = Math.min(LONGEST_MS, 500 * 2 ** this.tries++) * (0.75 + Math.random() / 2);
    this.timer = setTimeout(() => this.open(), wait);
  }
  check() { if (this.socket && Date.now() - this.heard > SILENT_MS) this.again(); }
  again() {
    clearTimeout(this.timer);
    const old = this.socket;
    this.socket = null;
    hangUp(old);
    this.open();
  }
  send(what) { if (this.socket?.readyState === 1) this.socket.send(JSON.stringify(what)); }
  say(name, reason = "") {
    const now = this.state.value;
    if (now.name === name) return;
    const since = now.name === "closed" && name === "connecting" ? now.since : Date.now();
    this.state.set({ name, since, reason: reason || now.reason });
  }
  end() {
    this.over = true;
    clearTimeout(this.timer);
    clearInterval(this.guard);
    hangUp(this.socket);
    this.socket = null;
  }
}

/** Close a socket; one that is not open yet as soon as it is, or the browser complains. */
function hangUp(socket) {
  if (!socket) return;
  socket.onmessage = null;
  if (socket.readyState === 0) socket.onopen = () => socket.close(); else socket.close();
}
