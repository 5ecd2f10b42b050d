// Whether this page shows the past as if it were now, and which.
import { watched } from "../core.js";

export const replaying = watched(null); // {symbol, from, speed, paused, at}
