// Columns of the tables that several pages show.
import { el } from "./dom.js";
import { duration, mib, number, percent, short, sentence, tops, words } from "./format.js";
import { hotkey, meter, state, when } from "./parts.js";

/** Columns of a list of measurements: of one kind, or of several. */
export function measureColumns({ kind = "", miner = true }) {
  return [
    { head: "Record", num: true, cell: (row) => el("a", { href: `#/measures/${row.seq}`, dataset: { key: `seq ${row.seq}` } }, number(row.seq)) },
    { head: "When", cell: (row) => when(row.at_ms) },
    kind ? null : { head: "Kind", cell: (row) => sentence(row.kind) },
    miner ? { head: "Miner", cell: (row) => hotkey(row.hotkey, row.uid) } : null,
    { head: "Outcome", cell: (row) => el("div.two", {}, state(row.outcome), row.outcome === "passed" ? null : el("small", { title: row.note }, words(row.reason))) },
    kind === "probe" ? null : { head: "Proven", cell: (row) => (row.gpus ? `${row.gpus} × ${row.gpu_class}` : "–") },
    kind === "probe" ? null : { head: "Throughput", num: true, cell: (row) => (row.tops ? tops(row.tops) : "–") },
    kind === "probe" ? null : { head: "Checked in", num: true, cell: (row) => (row.verify_ms ? duration(row.verify_ms) : "–") },
    { head: kind === "probe" ? "Ready after" : "Took", num: true, cell: (row) => (row.total_ms ? duration(row.total_ms) : "–") },
    kind === "probe" ? { head: "What was wrong", cell: (row) => row.note || "–" } : null,
  ].filter(Boolean);
}

export const GPU_COLUMNS = [
  { head: "GPU", cell: (gpu) => el("code", { title: gpu.uuid }, short(gpu.uuid, 12, 4)) },
  { head: "Claimed", cell: (gpu) => (gpu.model ? el("div.two", {}, gpu.model, el("small", {}, mib(gpu.claimed_mib))) : "–") },
  { head: "Proven class", cell: (gpu) => gpu.gpu_class || "–" },
  { head: "Credit", cell: (gpu) => (gpu.credit_ppm === null ? "–" : meter(gpu.credit_ppm / 1e6, percent(gpu.credit_ppm), gpu.credit_ppm ? "good" : "bad")) },
  { head: "Throughput", num: true, cell: (gpu) => (gpu.tops ? tops(gpu.tops) : "–") },
  { head: "Memory", num: true, cell: (gpu) => (gpu.memory_mib ? mib(gpu.memory_mib) : "–") },
  { head: "Chain", num: true, cell: (gpu) => (gpu.chain_ms ? `${(gpu.chain_ms / 1000).toFixed(2)} s` : "–") },
  { head: "Sweep", num: true, cell: (gpu) => (gpu.sweep_ms ? `${(gpu.sweep_ms / 1000).toFixed(3)} s` : "–") },
  { head: "Reason", cell: (gpu) => (gpu.reason ? words(gpu.reason) : "not proven") },
];
