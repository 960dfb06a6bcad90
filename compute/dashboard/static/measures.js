// Proofs and rental probes: lists, and each with its figures.
import { read } from "./api.js";
import { GPU_COLUMNS, measureColumns } from "./columns.js";
import { el, fill } from "./dom.js";
import { compact, duration, full, number, sentence, tops } from "./format.js";
import { badge, card, choice, code, facts, hotkey, kept, pager, plotCard, search, state, table } from "./parts.js";

const OUTCOMES = [["", "All"], ["passed", "Passed"], ["failed", "Failed"], ["inconclusive", "Inconclusive"]];

export function proofs(page) {
  page.title("Proofs");
  return [
    plotCard(page, {
      path: "plots/throughput", title: "Throughput of one GPU, by class", form: "line", format: tops, axis: compact, wide: true, range: "24h", height: 260, on: ["measured"],
      note: "TOPS, mean of all proofs; band: least and most", empty: "No proof was measured in this time.",
    }),
    listOf(page, "proof", "Proofs"),
  ];
}

export function probes(page) {
  return listOf(page, "probe", "Rental probes", "leases that this validator took to see that they work");
}

function listOf(page, kind, title, note = "") {
  const wanted = { kind, outcome: "", text: "", page: 0 };
  const list = kept(page, {
    load: (signal) => read("measures", wanted, signal),
    draw: (found) => [table(title, measureColumns({ kind }), found.rows, null, "None like that."), pager(found, (to) => ask({ page: to }))],
    on: ["measured"],
  });
  const outcomes = el("div");
  const ask = (change) => {
    Object.assign(wanted, { page: 0 }, change);
    choose();
    list.again();
  };
  const choose = () => fill(outcomes, choice("Outcome", OUTCOMES, wanted.outcome, (to) => ask({ outcome: to })));
  choose();
  return card(title, { wide: true, note }, el("div.toolbar", {}, search("Hotkey, class or reason", "", (text) => ask({ text })), outcomes), list.box);
}

export function measure(page, seq) {
  page.title(`Record ${number(seq)}`);
  const part = kept(page, { load: (signal) => read(`measures/${seq}`, {}, signal), draw: (found) => [head(found), steps(found), gpus(found)] });
  return [part.box];
}

function head({ row, ...found }) {
  return card(`${sentence(row.kind)} of ${row.uid === null ? "a former miner" : `UID ${row.uid}`}`, { wide: true, level: 1, tools: [state(row.outcome)] },
    row.outcome === "passed" ? null : el("p.reason", {}, el("strong", {}, `${sentence(row.reason)}: `), row.note || "no details"),
    facts([
      ["Miner", hotkey(row.hotkey)], ["When", full(row.at_ms)], ["Block", number(row.block)], ["Record", number(row.seq)],
      row.gpus ? ["Proven", `${row.gpus} × ${row.gpu_class}, ${tops(row.tops)}`] : null,
      row.chain_ms ? ["Chain and sweep", `${duration(row.chain_ms)}, ${duration(row.sweep_ms)}`] : null,
      row.verify_ms ? ["Checked in", `${duration(row.verify_ms)} of CPU`] : null,
      row.total_ms ? [row.kind === "probe" ? "Ready after" : "Took", duration(row.total_ms)] : null,
      found.mode ? ["Mode", found.mode] : null,
      found.slot ? ["Slot", code(found.slot)] : null,
      found.kept ? ["Evidence", code(found.hash)] : ["Evidence", badge("no longer kept", "calm")],
      found.kept ? ["Follows", code(found.prev)] : null,
      found.kept ? ["Signed by the miner", found.signed ? `${number(found.signed)} receipts` : "no receipt"] : null,
    ]));
}

function steps({ steps: all }) {
  if (!all.length) return null;
  return card("What was checked", { wide: true }, el("ol.steps", {}, all.map((step) => el(`li.${step.passed ? "passed" : "failed"}`, {},
    el("span.name", {}, sentence(step.name)), state(step.passed ? "passed" : "failed"), el("span.ms", {}, duration(step.ms)), step.detail ? el("small", {}, step.detail) : null))));
}

function gpus({ gpus: all }) {
  return all.length ? card("GPUs", { wide: true }, table("GPUs", GPU_COLUMNS.filter((column) => column.head !== "Claimed"), all)) : null;
}
