// Starts the desk, or says in plain words what is missing: this file needs nothing but the browser.
function say(...lines) {
  const place = document.getElementById("app");
  place.replaceChildren(...lines.map(([tag, text, name]) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    return made;
  }));
  place.className = "boot";
}

try {
  await import("../lib/preact.js");
} catch {
  say(
    ["h1", "The desk is not set up yet"],
    ["p", "Its libraries come from npm when ticktape is set up, and could not be taken then. Recording, the API and every command work without them. To finish, where an npm registry can be reached:"],
    ["code", "scripts/desk.sh"],
    ["p", "then load this page again."],
  );
  throw new Error("desk: lib/preact.js is missing: scripts/desk.sh");
}
try {
  const { start } = await import("./app.js");
  start(document.getElementById("app"));
} catch (error) {
  say(["h1", "The desk could not start"], ["p", String(error && error.message || error)], ["p", "Load the page again; if that does not help, it is a fault worth reporting."]);
  throw error;
}
