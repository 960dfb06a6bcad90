// The list of miners, and one miner: what it earns and why.
import { read } from "./api.js";
import { GPU_COLUMNS, measureColumns } from "./columns.js";
import { el, fill, spoken } from "./dom.js";
import { compact, factor, mib, number, percent, roundPercent, score, sentence, short, tops, words } from "./format.js";
import { card, choice, code, facts, hotkey, kept, meter, pager, plotCard, search, state, table } from "./parts.js";
import { spark } from "./plot.js";

const STATES = [["", "All"], ["earning", "Earning"], ["failing", "Failing"], ["waiting", "Waiting"]];

export function miners(page) {
  page.title("Miners");
  const wanted = { sort: "share", down: true, state: page.query.state ?? "", text: page.query.text ?? "", page: 0 };
  const list = kept(page, {
    load: (signal) => read("miners", wanted, signal),
    draw: (found) => [
      table("Miners", COLUMNS, found.rows, { by: wanted.sort, down: wanted.down, go: (sort, down) => ask({ sort, down }) }, "No miner is like that."),
      pager(found, (to) => ask({ page: to })),
    ],
    on: ["weights", "measured"],
  });
  const states = el("div");
  const ask = (change) => {
    Object.assign(wanted, { page: 0 }, change);
    choose();
    list.again();
  };
  const choose = () => fill(states, choice("Standing", STATES, wanted.state, (to) => ask({ state: to })));
  choose();
  return [el("section.card.wide", { "aria-label": "Miners" },
    el("div.toolbar", {}, search("UID, hotkey, GPU, address or reason", wanted.text, (text) => ask({ text })), states), list.box)];
}

const COLUMNS = [
  { head: "UID", num: true, sort: "uid", cell: (row) => el("a", { href: `#/miners/${row.hotkey}`, dataset: { key: `uid ${row.uid}` } }, row.uid, spoken(` ${short(row.hotkey)}`)) },
  { head: "Miner", cell: (row) => el("div.two", {}, hotkey(row.hotkey), el("small", {}, row.address || "no address")) },
  { head: "Standing", cell: (row) => el("div.two", {}, state(row.state), row.zero ? el("small", { title: row.zero }, sentence(row.zero)) : null) },
  { head: "Proven", cell: (row) => row.gpus || "–" },
  { head: "Throughput", num: true, sort: "tops", cell: (row) => (row.tops ? tops(row.tops) : "–") },
  { head: "Reliability", sort: "reliability", cell: (row) => (row.reliability_ppm === null ? "–" : meter(row.reliability_ppm / 1e6, percent(row.reliability_ppm), row.reliability_ppm < 9e5 ? "warn" : "good")) },
  { head: "Share", num: true, sort: "share", cell: (row) => percent(row.share_ppm) },
  { head: "Score now", num: true, sort: "score", cell: (row) => score(row.score) },
  { head: "Last 7 days", cell: (row) => spark(row.spark, score) },
];

// --- One miner -----------------------------------------------------------------------------------

export function miner(page, address) {
  page.title(`Miner ${short(address)}`);
  const below = el("div.kept");
  const part = kept(page, {
    load: (signal) => read(`miners/${address}`, {}, signal),
    draw: (found) => {
      page.title(`Miner UID ${found.row.uid}`);
      fill(below, checks(found), gpus(found));
      return [head(found), why(found)];
    },
    on: ["measured", "weights"],
  });
  const recent = kept(page, {
    load: async (signal) => {
      const [proofs, probes] = await Promise.all(["proof", "probe"].map((kind) => read("measures", { kind, hotkey: address, size: 12 }, signal)));
      return [...proofs.rows, ...probes.rows].sort((a, b) => b.seq - a.seq).slice(0, 16);
    },
    draw: (rows) => table("Proofs and probes of this miner", measureColumns({ miner: false }), rows, null, "Nothing was measured yet."),
    on: ["measured"],
  });
  const scores = { path: `miners/${address}/scores` };
  return [
    part.box,
    el("div.columns.two-even", {},
      plotCard(page, { ...scores, title: "Score", form: "line", format: (value) => compact(value / 1e6), range: "30d", note: "band: least and most", pick: only("score") }),
      plotCard(page, { ...scores, title: "Share of the vector", form: "area", format: percent, axis: roundPercent, range: "30d", pick: only("share"), colours: ["c2"] }),
      plotCard(page, {
        ...scores, title: "What it is made of", form: "line", format: factor, axis: (ppm) => String(ppm / 1e6), range: "30d", most: 1e6, note: "each factor, 1 is best",
        pick: (found) => ({ ...found, series: found.series.slice(3) }),
      }),
      plotCard(page, {
        path: "plots/throughput", query: { hotkey: address }, title: "Throughput of one GPU", form: "line", format: tops, axis: compact, range: "24h", on: ["measured"],
        note: "TOPS, as its proofs showed",
      })),
    below,
    card("Proofs and rental probes", { wide: true }, recent.box),
  ];
}

const only = (name) => (found) => ({ ...found, series: found.series.filter((one) => one.name === name) });

function head({ row, ...found }) {
  return card(`UID ${row.uid}`, { wide: true, level: 1, tools: [state(row.state)] },
    row.zero ? el("p.reason", {}, el("strong", {}, "Earns nothing: "), words(row.zero)) : null,
    facts([
      ["Hotkey", code(row.hotkey)], ["Address", row.address || "announces none"], ["Share", percent(row.share_ppm)],
      ["Incentive on chain", percent(found.incentive * 1e6)], ["Proven", row.gpus || "nothing"], ["Throughput", row.tops ? tops(row.tops) : "–"],
      ["Claims", `${number(found.cpus)} CPUs, ${mib(found.memory_mib)}, ${number(found.gpus.filter((gpu) => gpu.claimed_mib).length)} GPUs`],
      ["Software", found.software || "–"], ["Coldkey", code(found.coldkey)],
    ]));
}

function why({ row, terms, penalties }) {
  if (!terms.length) return null;
  const [capacity, ...factors] = terms;
  const chip = (name, value, text, tone) => el(`li.${tone}`, {}, el("span.name", {}, sentence(name)), el("strong", {}, value), el("small", {}, words(text)));
  const tone = (ppm) => (ppm >= 1e6 ? "full" : ppm ? "part" : "nil");
  return card("Why this score", { wide: true, note: "as of now" },
    el("ol.product", {}, chip("capacity", score(capacity.ppm), capacity.why, capacity.ppm ? "full" : "nil"),
      factors.map((term) => chip(term.name, factor(term.ppm), term.why, tone(term.ppm))),
      chip("score", score(row.score), "the product", "sum")),
    penalties.length ? el("ul.notes", {}, penalties.map((one) => el("li", {}, `Penalty ${factor(one.factor_ppm)} until block ${number(one.until_block)}: ${one.reason}`))) : null);
}

const LANES = ["proof", "probe", "specs", "ping"];

function checks({ checks: all, window_blocks: blocks }) {
  const lanes = LANES.map((kind) => [kind, all.filter((check) => check.kind === kind)]).filter(([, found]) => found.length);
  return card("Checks that count", { wide: true, note: `the last ${number(blocks)} blocks, oldest first` },
    lanes.length ? el("div.strips", {}, lanes.map(([kind, found]) => el("div", {},
      el("h3", {}, sentence(kind), el("small", {}, `${found.filter((check) => check.outcome === "passed").length} of ${found.length} passed`)),
      el("ol.strip", {}, found.map((check) => el("li", {},
        el(`a.${check.outcome}`, { href: `#/measures/${check.seq}`, title: `${check.kind} at block ${number(check.block)}: ${words(check.reason)}`, dataset: { key: `check ${check.seq}` } },
          spoken(`${check.outcome} at block ${check.block}: ${words(check.reason)}`)))))))) : el("p.empty", {}, "None yet."));
}

function gpus({ gpus: all }) {
  return card("GPUs", { wide: true, note: "as claimed, and as proven" }, table("GPUs", GPU_COLUMNS, all, null, "It claims no GPU."));
}
