// Figures as people read them. Shares come in parts per million, times in Unix milliseconds.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tight = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const few = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const seconds = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const date = new Intl.DateTimeFormat("en", { day: "numeric", month: "short" });
const moment = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23", timeZoneName: "short" });
const DAY = 86_400_000;

export const number = (value) => whole.format(value);
export const compact = (value) => (Math.abs(value) < 1000 ? few.format(value) : tight.format(value));

/** A share of one million as percent: enough digits to tell small ones apart. */
export function percent(ppm) {
  const value = ppm / 10_000;
  if (value === 0) return "0%";
  if (value < 0.01) return "<0.01%";
  return `${value < 10 ? value.toFixed(2) : value.toFixed(value < 99.95 ? 1 : 0)}%`;
}

/** The same on an axis, where round values stand. */
export const roundPercent = (ppm) => `${few.format(ppm / 10_000)}%`;

/** A factor of a score: 1 stays 1. */
export const factor = (ppm) => (ppm / 1e6).toFixed(ppm === 1e6 || ppm === 0 ? 0 : 3);

/** A score, which is kept in millionths. */
export const score = (value) => (value === 0 ? "0" : (value / 1e6).toFixed(value < 1e7 ? 3 : 2));

/** Tera-operations per second, with the prefix that fits. */
export function tops(value) {
  if (!value) return "0";
  if (value >= 1e6) return `${few.format(value / 1e6)} EOPS`;
  if (value >= 1e4) return `${few.format(value / 1e3)} POPS`;
  return `${value < 10 ? value.toFixed(2) : whole.format(value)} TOPS`;
}

export function mib(value) {
  if (value >= 1024 * 1024) return `${few.format(value / 1024 / 1024)} TiB`;
  if (value >= 1024) return `${few.format(value / 1024)} GiB`;
  return `${whole.format(value)} MiB`;
}

/** A length of time. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 60) return `${minutes} min ${Math.floor((ms % 60_000) / 1000)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

export function ago(ms, now = Date.now()) {
  const away = now - ms;
  if (Math.abs(away) < 2000) return "now";
  const text = duration(Math.abs(away)).replace(/ \d+ (s|min|h)$/, (part) => (Math.abs(away) < 600_000 ? part : ""))
    .replace(/(\d)\.\d+ s/, "$1 s");
  return away > 0 ? `${text} ago` : `in ${text}`;
}

export const full = (ms) => moment.format(ms);
export const time = (ms) => seconds.format(ms);

/** A label on the axis of time, by how far labels are apart: midnight is told as its day. */
export function tick(ms, step) {
  if (step >= DAY) return date.format(ms);
  const text = clock.format(ms);
  return text === "00:00" ? date.format(ms) : text;
}

/** A moment under the pointer, by how long the axis is. */
export function stamp(ms, length) {
  return length <= DAY * 40 ? `${date.format(ms)}, ${clock.format(ms)}` : date.format(ms);
}

/** An address or a hash, cut in the middle. */
export function short(text, head = 6, tail = 4) {
  return text.length > head + tail + 1 ? `${text.slice(0, head)}…${tail ? text.slice(-tail) : ""}` : text;
}

/** A name from the code as words: `opening_failed`. */
export const words = (name) => name.replaceAll("_", " ");

/** The same at the beginning of a sentence. */
export const sentence = (name) => words(name).replace(/^./, (letter) => letter.toUpperCase());
