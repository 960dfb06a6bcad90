// What a validator leases itself: rentals for its tenants, and probes to see that miners work.
import { read } from "./api.js";
import { el, fill } from "./dom.js";
import { duration, full, mib, sentence } from "./format.js";
import { probes } from "./measures.js";
import { card, choice, code, facts, hotkey, kept, pager, state, table, when } from "./parts.js";
import { timeline } from "./timeline.js";

const STATES = [["", "All"], ["live", "Live"], ["ended", "Ended"], ["failed", "Failed"]];

export function leases(page) {
  page.title("Leases");
  return [rentals(page), probes(page)];
}

function rentals(page) {
  const wanted = { state: "", page: 0 };
  const list = kept(page, {
    load: (signal) => read("rentals", wanted, signal),
    draw: (found) => [
      table("Rentals", COLUMNS, found.rows, null, "Nobody rents through this validator."),
      found.total > found.size ? pager(found, (to) => ask({ page: to })) : null,
    ],
    on: ["block"],
  });
  const tools = el("div");
  const ask = (change) => {
    Object.assign(wanted, { page: 0 }, change);
    choose();
    list.again();
  };
  const choose = () => fill(tools, choice("State of rentals", STATES, wanted.state, (to) => ask({ state: to })));
  choose();
  return card("Rentals", { wide: true, note: "leases held for tenants", tools: [tools] }, list.box);
}

const COLUMNS = [
  { head: "Rental", cell: (row) => el("a", { href: `#/rentals/${row.id}`, dataset: { key: `rental ${row.id}` } }, el("code", {}, row.id.slice(0, 10))) },
  { head: "State", cell: (row) => el("div.two", {}, state(row.state), row.detail ? el("small", { title: row.detail }, row.detail) : null) },
  { head: "Tenant", cell: (row) => row.tenant },
  { head: "Miner", cell: (row) => (row.miner ? hotkey(row.miner, row.uid) : "–") },
  { head: "Made", cell: (row) => when(row.created_ms) },
  { head: "Ends", cell: (row) => (row.ended_ms || row.expires_ms ? when(row.ended_ms ?? row.expires_ms) : "–") },
  { head: "GPUs", num: true, cell: (row) => row.gpus || "–" },
  { head: "CPUs", num: true, cell: (row) => row.cpus },
  { head: "Memory", num: true, cell: (row) => mib(row.memory_mib) },
  { head: "Credited", num: true, cell: (row) => (row.credited_ms ? duration(row.credited_ms) : "–") },
];

export function rental(page, id) {
  page.title(`Rental ${id.slice(0, 10)}`);
  const part = kept(page, { load: (signal) => read(`rentals/${id}`, {}, signal), draw: (found) => [head(found.row), timeline(found.events)], on: ["block"] });
  return [part.box];
}

function head(row) {
  return card(`Rental ${row.id.slice(0, 10)}`, { wide: true, level: 1, tools: [state(row.state)] },
    row.state === "failed" && row.detail ? el("p.reason", {}, el("strong", {}, "Failed: "), sentence(row.detail)) : null,
    facts([
      ["Rental", code(row.id)], ["Tenant", row.tenant], ["Miner", row.miner ? hotkey(row.miner) : "none yet"], row.lease ? ["Lease there", code(row.lease)] : null,
      ["Made", full(row.created_ms)], row.expires_ms ? ["Deadline", full(row.expires_ms)] : null, row.ended_ms ? ["Ended", full(row.ended_ms)] : null,
      ["Hardware", `${row.gpus ? `${row.gpus} GPUs, ` : ""}${row.cpus} CPUs, ${mib(row.memory_mib)}`], ["Credited for outages", row.credited_ms ? duration(row.credited_ms) : "nothing"],
    ]));
}
