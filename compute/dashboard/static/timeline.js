// The life of a lease, line by line.
import { el, spoken } from "./dom.js";
import { duration, full, sentence, time } from "./format.js";
import { card, empty } from "./parts.js";

const BAD = new Set(["failed", "gpu fault", "end delayed", "warned", "unreachable"]);
const GOOD = new Set(["ready", "ended", "active", "reachable", "credited"]);
const tone = (event) => (BAD.has(event) ? "bad" : GOOD.has(event) ? "good" : "calm");

/** A card with events, oldest first, each with how long after the first it came. */
export function timeline(events) {
  if (!events.length) return card("Timeline", {}, empty("Nothing is on record."));
  const begun = events[0].at_ms;
  return card("Timeline", {}, el("ol.timeline", {}, events.map((one, index) => el(`li.${tone(one.event)}`, {},
    el("time", { datetime: new Date(one.at_ms).toISOString(), title: full(one.at_ms) }, time(one.at_ms)),
    el("span.name", {}, sentence(one.event)),
    el("span.after", {}, index ? [`+${duration(one.at_ms - begun)}`, spoken(" after the request")] : null),
    one.detail ? el("small", {}, one.detail) : null))));
}
