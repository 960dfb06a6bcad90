// Leases of this machine: the list, the board, and the life of one.
import { read } from "./api.js";
import { el, fill, onWidth, spoken, svg } from "./dom.js";
import { duration, full, mib, sentence, time, words } from "./format.js";
import { card, choice, code, empty, facts, kept, pager, search, SHORT_RANGES, state, table, when } from "./parts.js";
import { moments } from "./plot.js";
import { timeline } from "./timeline.js";
import { hideTip, showTip } from "./tip.js";

const KINDS = [["", "All kinds"], ["rental", "Rentals"], ["probe", "Probes"], ["challenge", "Challenges"]];
const STATES = [["", "All"], ["live", "Live"], ["ended", "Ended"], ["failed", "Failed"]];

export function leases(page) {
  page.title("Leases");
  const wanted = { kind: "", state: "", text: "", page: 0 };
  const list = kept(page, {
    load: (signal) => read("leases", wanted, signal),
    draw: (found) => [table("Leases", LEASE_COLUMNS, found.rows, null, "No lease is like that."), pager(found, (to) => ask({ page: to }))],
    on: ["lease"],
  });
  const tools = el("div.toolbar");
  const ask = (change) => {
    Object.assign(wanted, { page: 0 }, change);
    choose();
    list.again();
  };
  const choose = () => fill(tools,
    choice("Kind", KINDS, wanted.kind, (kind) => ask({ kind })),
    choice("State", STATES, wanted.state, (to) => ask({ state: to })));
  choose();
  return [board(page), card("Leases", { wide: true }, el("div.toolbar", {}, search("Lease, renter, trace or error", "", (text) => ask({ text })), tools), list.box)];
}

export const LEASE_COLUMNS = [
  { head: "Lease", cell: (row) => el("a", { href: `#/leases/${row.id}`, dataset: { key: `lease ${row.id}` } }, el("code", {}, row.id.slice(0, 10))) },
  { head: "Kind", cell: (row) => sentence(row.kind) },
  { head: "State", cell: (row) => el("div.two", {}, state(row.state), row.error || row.reason ? el("small", {}, words(row.error || row.reason)) : null) },
  { head: "Renter", cell: (row) => code(row.owner, 6, 4) },
  { head: "Made", cell: (row) => when(row.created_ms) },
  { head: "Ready after", num: true, cell: (row) => duration(row.ready_ms) },
  { head: "Ends", cell: (row) => when(row.ended_ms ?? row.expires_ms) },
  { head: "GPUs", num: true, cell: (row) => row.gpus || "–" },
  { head: "CPUs", num: true, cell: (row) => row.cpus },
  { head: "Memory", num: true, cell: (row) => mib(row.memory_mib) },
];

// --- The board -----------------------------------------------------------------------------------

/** Every lease of a span as a bar: when it lived, and until when it may. */
export function board(page) {
  let wanted = "24h";
  const tools = el("div");
  const part = kept(page, {
    load: (signal) => read("lanes", { range: wanted }, signal),
    draw: (found) => {
      if (!found.bars.length) return empty("No lease lived in this time.");
      const box = el("div.lanes");
      onWidth(box, (width) => fill(box, lanes(found, width)));
      return box;
    },
    on: ["lease"],
  });
  const choose = () => fill(tools, choice("How far back: leases over time", SHORT_RANGES, wanted, (to) => { wanted = to; choose(); part.again(); }));
  choose();
  return card("Leases over time", { wide: true, tools: [tools], note: "pale: until the deadline" }, part.box);
}

const ROW = 18;
const HEAD = 22;

function lanes(found, width) {
  const height = HEAD + found.lanes * ROW + 4;
  const x = (ms) => Math.min(width, Math.max(0, (width * (ms - found.start_ms)) / (found.end_ms - found.start_ms)));
  const links = found.bars.map((bar) => bar_(bar, x));
  const picture = svg("svg", { width, height, role: "group", "aria-label": "Leases over time" },
    hours(found, x, height, width), svg("line.now", { x1: x(found.now_ms), x2: x(found.now_ms), y1: HEAD - 4, y2: height }), links);
  picture.addEventListener("pointermove", (event) => {
    const at = links.indexOf(event.target.closest("a"));
    if (at < 0) return hideTip();
    const bar = found.bars[at];
    showTip(event.clientX, event.clientY, el("p.when", {}, `${bar.kind} ${bar.id.slice(0, 10)}`),
      el("p", {}, `${words(bar.state)}, ${time(bar.start_ms)} – ${time(bar.end_ms)}`), el("p", {}, duration(bar.end_ms - bar.start_ms)));
  });
  picture.addEventListener("pointerleave", hideTip);
  return picture;
}

function bar_(bar, x) {
  const y = HEAD + bar.lane * ROW;
  const box = (tag, from, to) => svg(tag, { x: x(from), y, width: Math.max(2.5, x(to) - x(from)), height: ROW - 5, rx: 3 });
  const live = !["ended", "failed"].includes(bar.state);
  return svg("a", { href: `#/leases/${bar.id}`, "aria-label": `${bar.kind} ${bar.id.slice(0, 10)}, ${bar.state}, ${duration(bar.end_ms - bar.start_ms)}`, dataset: { key: `bar ${bar.id}` } },
    live ? box("rect.until", bar.end_ms, bar.expires_ms) : null, box(`rect.${bar.state === "failed" ? "failed" : bar.kind}`, bar.start_ms, bar.end_ms));
}

function hours(found, x, height, width) {
  return moments(found.start_ms, found.end_ms, width).map(({ ms, label }) => svg("g", {},
    svg("line.grid", { x1: x(ms), x2: x(ms), y1: HEAD - 4, y2: height }),
    svg("text.axis", { x: x(ms), y: 12, "text-anchor": "middle" }, label)));
}

// --- One lease -----------------------------------------------------------------------------------

export function lease(page, id) {
  page.title(`Lease ${id.slice(0, 10)}`);
  const part = kept(page, {
    load: (signal) => read(`leases/${id}`, {}, signal),
    draw: (found) => [head(found), el("div.columns", {}, timeline(found.events), teardown(found))],
    on: ["lease"],
  });
  return [part.box];
}

function head({ row, ...found }) {
  return card(`${sentence(row.kind)} ${row.id.slice(0, 10)}`, { wide: true, level: 1, tools: [state(row.state)] },
    row.error || found.detail ? el("p.reason", {}, el("strong", {}, `${sentence(row.error || row.reason)}: `), found.detail || "no details") : null,
    facts([
      ["Lease", code(row.id)], ["Renter", code(row.owner)], found.managers.length ? ["Managers", found.managers.map((one) => code(one, 6, 4))] : null,
      ["Made", full(row.created_ms)], ["Ready after", duration(row.ready_ms)], ["Deadline", full(row.expires_ms)],
      row.ended_ms ? ["Ended", full(row.ended_ms)] : ["Time left", duration(Math.max(0, row.expires_ms - Date.now()))],
      row.reason ? ["Why it ended", words(row.reason)] : null,
      ["CPUs", found.cpu_ids.length ? `${row.cpus} (${found.cpu_ids.join(", ")})` : row.cpus],
      ["Memory", `${mib(row.memory_mib)}, ${mib(found.shm_mib)} shared`], ["Disk", found.disk_mib ? mib(found.disk_mib) : "–"],
      row.gpus ? ["GPUs", found.gpu_uuids.map((uuid) => code(uuid, 12, 4))] : null,
      found.ports.length ? ["Ports", found.ports.map((port) => `${port.host} → ${port.container}`).join(", ")] : null,
      ["Image", code(found.image, 17, 4)], found.container ? ["Container", code(found.container, 12, 0)] : null, ["Trace", code(found.trace)],
      found.idle_stop_s ? ["Stops when idle for", duration(found.idle_stop_s * 1000)] : null, found.test_slot ? ["Taken from", "the test slot"] : null,
    ]));
}

function teardown({ teardown: gone, row }) {
  if (!gone) return card("Teardown", {}, empty(row.ended_ms ? "No signed statement: nothing had been made." : "Signed when nothing of the lease is left."));
  return card("Teardown", { note: "signed by this miner" }, el("ul.checks", {}, gone.checks.map((one) => el("li", {}, sentence(one)))),
    facts([["Gone", full(gone.ended_ms)], ["Hotkey", code(gone.hotkey)], ["Signature", code(gone.signature)]]));
}

