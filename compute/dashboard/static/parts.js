// What pages are made of: cards, tiles, badges, tables, pagers, choices.
import { live, read } from "./api.js";
import { el, fill, spoken } from "./dom.js";
import { ago, full, number, short, words } from "./format.js";
import { timePlot } from "./plot.js";

const RELOAD_MS = 2500;

/** A card with a heading; `tools` stand at its right. */
export function card(title, { tools = [], wide = false, level = 2, note = "", id = "" } = {}, ...content) {
  return el(`section.card${wide ? ".wide" : ""}`, { "aria-labelledby": id || null },
    el("header", {}, el(`h${level}`, { id: id || null }, title, note ? el("small", {}, note) : null), el("div.tools", {}, tools)),
    ...content);
}

/** A figure that is read at a glance. */
export function tile(label, value, ...more) {
  return el("div.tile", {}, el("dt", {}, label), el("dd", {}, el("strong", {}, value), ...more));
}

/** Whether something is well, in a word and a colour; the colour never says it alone. */
export function badge(text, tone) {
  return el(`span.badge.${tone}`, {}, text);
}

const TONES = {
  earning: "good", passed: "good", confirmed: "good", active: "good", ended: "calm", ok: "good",
  failing: "bad", failed: "bad", missed: "bad", lost: "bad",
  waiting: "calm", inconclusive: "warn", planned: "calm", sent: "warn", paused: "warn", ending: "warn",
  requested: "warn", provisioning: "warn",
};
export const state = (name) => badge(words(name), TONES[name] ?? "calm");

/** A link to a miner by its hotkey. */
export function hotkey(address, uid = null) {
  return el("a.hotkey", { href: `#/miners/${address}`, title: address, dataset: { key: `miner ${address}` } },
    uid === null ? short(address) : `UID ${uid}`, spoken(` (hotkey ${short(address)})`));
}

/** A long name, whole for copying. */
export function code(text, head = 10, tail = 8) {
  const button = el("button.copy", {
    type: "button", title: `Copy ${text}`, dataset: { key: `copy ${text}` },
    on: { click: () => navigator.clipboard.writeText(text).then(() => { button.dataset.done = ""; setTimeout(() => delete button.dataset.done, 1500); }) },
  }, el("code", {}, short(text, head, tail)), spoken(" copy"));
  return button;
}

/** A moment, as how long ago. */
export const when = (ms) => el("time", { datetime: new Date(ms).toISOString(), title: full(ms) }, ago(ms));

/** A share of one as a bar with its text. */
export function meter(share, text, tone = "") {
  return el("span.meter", {}, el(`span.track${tone ? `.${tone}` : ""}`, { style: { "--share": Math.min(1, Math.max(0, share)) } }), el("span", {}, text));
}

/** Terms and what they are. */
export function facts(pairs) {
  return el("dl.facts", {}, pairs.filter(Boolean).map(([name, ...value]) => el("div", {}, el("dt", {}, name), el("dd", {}, ...value))));
}

export const empty = (text) => el("p.empty", {}, text);

/**
 * A table.
 * @param {string} caption for screen readers.
 * @param {Array<{head: string, num?: boolean, sort?: string, cell: Function, hide?: string}>} columns
 * @param {{by: string, down: boolean, go: Function}} [sorting]
 */
export function table(caption, columns, rows, sorting = null, nothing = "Nothing here yet.") {
  if (!rows.length) return empty(nothing);
  return el("div.scroll", { tabindex: 0, role: "region", "aria-label": `Table: ${caption}`, dataset: { key: `table ${caption}` } },
    el("table", {},
      el("caption.sr", {}, caption),
      el("thead", {}, el("tr", {}, columns.map((column) => heading(column, sorting)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, columns.map((column, at) =>
        el(`${at ? "td" : "th"}${column.num ? ".num" : ""}${column.hide ? `.${column.hide}` : ""}`, at ? {} : { scope: "row" }, column.cell(row))))))));
}

function heading(column, sorting) {
  const classes = `${column.num ? ".num" : ""}${column.hide ? `.${column.hide}` : ""}`;
  if (!sorting || !column.sort) return el(`th${classes}`, { scope: "col" }, column.head);
  const here = sorting.by === column.sort;
  return el(`th${classes}`, { scope: "col", "aria-sort": here ? (sorting.down ? "descending" : "ascending") : "none" },
    el("button.sort", {
      type: "button", dataset: { key: `sort ${column.sort}`, way: here ? (sorting.down ? "down" : "up") : "" },
      on: { click: () => sorting.go(column.sort, here ? !sorting.down : column.sort !== "uid") },
    }, column.head));
}

/** Which page of a list, with ways to the others. */
export function pager({ total, page, size }, go) {
  const last = Math.max(0, Math.ceil(total / size) - 1);
  const button = (text, to, off) => el("button.quiet", { type: "button", disabled: off, dataset: { key: `page ${text}` }, on: { click: () => go(to) } }, text);
  const range = total ? `${number(page * size + 1)}–${number(Math.min(total, (page + 1) * size))} of ${number(total)}` : "none";
  return el("nav.pager", { "aria-label": "Pages of the list" }, button("Previous", page - 1, page <= 0), el("span", {}, range), button("Next", page + 1, page >= last));
}

/** A few choices of which one holds. */
export function choice(label, options, current, go) {
  return el("div.choice", { role: "group", "aria-label": label }, options.map(([value, text]) =>
    el("button", { type: "button", "aria-pressed": String(value === current), dataset: { key: `${label} ${value}` }, on: { click: () => go(value) } }, text)));
}

/** A field to search with; it waits until typing pauses. */
export function search(label, current, go) {
  let waiting = 0;
  const input = el("input.search", { type: "search", placeholder: label, "aria-label": label, value: current, autocomplete: "off", spellcheck: "false", maxlength: 100 });
  input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => go(input.value.trim()), 250); });
  return input;
}

export const RANGES = [["1h", "1 h"], ["24h", "24 h"], ["7d", "7 d"], ["30d", "30 d"], ["1y", "1 y"]];
export const SHORT_RANGES = RANGES.slice(0, 4);

/**
 * Keeps a part of a page true: loads, draws, and does both again when something happens.
 * @param {{signal: AbortSignal}} page ends when the page is left.
 * @param {{load: Function, draw: Function, on?: string[]}} part `draw` answers nodes.
 */
export function kept(page, { load, draw, on = [] }) {
  const box = el("div.kept", { "aria-busy": "true" });
  let asked = 0;
  let latest = 0;
  let timer = 0;
  const show = async () => {
    clearTimeout(timer);
    timer = 0;
    const mine = ++asked;
    latest = Date.now();
    try {
      const found = await load(page.signal);
      if (mine === asked && !page.signal.aborted) fill(box, draw(found));
    } catch (error) {
      if (page.signal.aborted || mine !== asked) return;
      if (!box.firstChild || error.status) fill(box, refusal(error, show));
      if (!error.status) timer = setTimeout(show, RELOAD_MS);
    } finally {
      if (mine === asked) box.removeAttribute("aria-busy");
    }
  };
  const soon = () => {
    if (timer || document.hidden) return;
    timer = setTimeout(show, Math.max(0, latest + RELOAD_MS - Date.now()));
  };
  for (const kind of [...on, "back"]) live.addEventListener(kind, soon, { signal: page.signal });
  page.signal.addEventListener("abort", () => clearTimeout(timer));
  show();
  return { box, again: show };
}

function refusal(error, again) {
  return el("div.refusal", { role: "alert" }, el("p", {}, el("strong", {}, error.message)), error.hint ? el("p", {}, error.hint) : null,
    el("button", { type: "button", on: { click: again } }, "Try again"));
}

/**
 * A card with a plot and a choice of how far back it goes.
 * @param {{path: string, query?: Object, title: string, ranges?: Array, range?: string, on?: string[]}} what
 */
export function plotCard(page, { path, query = {}, title, note = "", ranges = RANGES, range = "7d", wide = false, on = ["weights"], pick = (found) => found, ...options }) {
  let wanted = range;
  const tools = el("div");
  const part = kept(page, {
    load: (signal) => read(path, { ...query, range: wanted }, signal),
    draw: (found) => timePlot(pick(found), { label: title, ...options }),
    on,
  });
  const choose = () => fill(tools, choice(`How far back: ${title}`, ranges, wanted, (to) => { wanted = to; choose(); part.again(); }));
  choose();
  return card(title, { tools: [tools], wide, note }, part.box);
}
