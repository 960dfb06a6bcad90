// Weights by epoch, and each vector.
import { read } from "./api.js";
import { el, fill } from "./dom.js";
import { full, number, percent, roundPercent } from "./format.js";
import { card, choice, code, facts, hotkey, kept, meter, pager, RANGES, state, table, when } from "./parts.js";
import { timePlot } from "./plot.js";

const CROWD = 500_000; // parts per million

export function weights(page) {
  page.title("Weights");
  const wanted = { range: "7d", before: 0 };
  const tools = el("div");
  const part = kept(page, {
    load: (signal) => read("weights", wanted, signal),
    draw: (found) => [
      card("Weights by epoch", { wide: true, tools: [tools], note: "share of each vector; the largest earners of today" }, stack(found)),
      card("Epochs", { wide: true }, table("Epochs", EPOCH_COLUMNS, found.epochs, null, "Nothing was paid yet."),
        found.older || wanted.before ? el("nav.pager", { "aria-label": "Pages of the list" },
          el("button.quiet", { type: "button", disabled: !wanted.before, on: { click: () => ask({ before: 0 }) } }, "Newest"),
          el("button.quiet", { type: "button", disabled: !found.older, on: { click: () => ask({ before: found.older }) } }, "Older")) : null),
    ],
    on: ["weights"],
  });
  const ask = (change) => {
    Object.assign(wanted, change);
    choose();
    part.again();
  };
  const choose = () => fill(tools, choice("How far back", RANGES, wanted.range, (range) => ask({ range })));
  choose();
  return [part.box];
}

/** The earners stacked; the others too, unless they hold most of it and would hide everybody. */
function stack({ plot, hotkeys }) {
  const at = hotkeys.indexOf("");
  const crowd = at >= 0 && mean(plot.series[at].values) > CROWD;
  const series = crowd ? plot.series.filter((_, index) => index !== at) : plot.series;
  const colours = series.map((one) => (one.name === "others" ? "rest" : `c${plot.series.indexOf(one) + 1}`));
  return [
    timePlot({ ...plot, series }, {
      label: "Weights by epoch", form: "stack", format: percent, axis: roundPercent, height: 300, colours, most: crowd ? 0 : 1e6, empty: "No vector was published in this time.",
    }),
    crowd ? el("p.hint", {}, `All others together hold ${percent(mean(plot.series[at].values))}, and are left out here.`) : null,
  ];
}

function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.reduce((sum, value) => sum + value, 0) / (known.length || 1);
}

const EPOCH_COLUMNS = [
  { head: "Epoch at block", num: true, cell: (row) => el("a", { href: `#/weights/${row.epoch_block}`, dataset: { key: `epoch ${row.epoch_block}` } }, number(row.epoch_block)) },
  { head: "When", cell: (row) => when(row.at_ms) },
  { head: "On chain", cell: (row) => (row.submission ? el("div.two", {}, state(row.submission.state), row.submission.message ? el("small", {}, row.submission.message) : null) : "–") },
  { head: "In block", num: true, cell: (row) => (row.submission?.included_block ? number(row.submission.included_block) : "–") },
  { head: "Attempts", num: true, cell: (row) => row.submission?.attempts ?? "–" },
  { head: "Earning", cell: (row) => meter(row.miners ? row.earning / row.miners : 0, `${number(row.earning)} of ${number(row.miners)}`, "good") },
  { head: "Vector", cell: (row) => code(row.vector, 8, 6) },
];

export function vector(page, epochBlock) {
  page.title(`Epoch at block ${number(epochBlock)}`);
  const part = kept(page, { load: (signal) => read(`weights/${epochBlock}`, {}, signal), draw: (found) => [head(found), parts(found)], on: ["weights", "block"] });
  return [part.box];
}

function head(found) {
  const sent = found.submission;
  return card(`Epoch at block ${number(found.epoch_block)}`, { wide: true, level: 1, tools: [sent ? state(sent.state) : null] },
    facts([
      ["Computed", full(found.created_ms)], ["At block", number(found.block)], ["Vector", code(found.sha256)],
      ["Policy", `${found.policy} `, code(found.policy_sha256, 6, 4)], ["Evidence up to", `record ${number(found.evidence_seq)} `, code(found.evidence_hash, 6, 4)],
      ["Validator", code(found.validator)], ["Signature", code(found.signature)],
      sent ? ["Sent", `${number(sent.attempts)} times, last at block ${number(sent.sent_block)}`] : null,
      sent?.included_block ? ["In block", number(sent.included_block)] : null,
      sent?.message ? ["The chain said", sent.message] : null,
    ]),
    el("p.hint", {}, "Anybody with the evidence and the policy can compute this vector again."));
}

function parts({ weights: rows }) {
  const most = rows[0]?.share_ppm || 1;
  const box = el("div.kept");
  const show = (page) => fill(box,
    table("Weights", weightColumns(most), rows.slice(page * SIZE, (page + 1) * SIZE), null, "Nobody was paid."),
    rows.length > SIZE ? pager({ total: rows.length, page, size: SIZE }, show) : null);
  show(0);
  return card("Who is paid", { wide: true, note: `${number(rows.length)} miners` }, box);
}

const SIZE = 50;

function weightColumns(most) {
  return [
    { head: "UID", num: true, cell: (row) => row.uid },
    { head: "Miner", cell: (row) => (row.hotkey ? hotkey(row.hotkey) : "unknown") },
    { head: "Share", cell: (row) => meter(row.share_ppm / most, percent(row.share_ppm)) },
    { head: "Weight", num: true, cell: (row) => number(row.weight) },
  ];
}
