// The subnet at a glance.
import { live, read } from "./api.js";
import { el, fill, onWidth, svg } from "./dom.js";
import { ago, compact, duration, number, percent, sentence, short, time, tops } from "./format.js";
import { card, empty, hotkey, kept, meter, plotCard, state, tile } from "./parts.js";
import { hideTip, showTip } from "./tip.js";

const BLOCK_MS = 12_000;
const KEPT = 12;

export function overview(page) {
  page.title("Overview");
  const now = kept(page, { load: (signal) => read("overview", {}, signal), draw: tiles, on: ["block", "measured", "weights"] });
  const sides = kept(page, { load: (signal) => read("overview", {}, signal), draw: beside, on: ["measured", "weights"] });
  const map = kept(page, { load: (signal) => read("standings", {}, signal), draw: drawMap, on: ["weights", "measured"] });
  return [
    now.box,
    el("div.columns", {},
      plotCard(page, {
        path: "plots/subnet", title: "Verified score", form: "area", wide: true, format: (value) => compact(value / 1e6), height: 236, range: "30d",
        note: "all miners together, as paid", pick: (found) => ({ ...found, series: found.series.slice(0, 1) }),
      }),
      plotCard(page, {
        path: "plots/subnet", title: "Miners", form: "line", format: compact, height: 236, range: "30d", names: { earning: "earning", miners: "registered" },
        colours: ["good", "c8"], pick: (found) => ({ ...found, series: found.series.slice(1) }),
      })),
    el("div.columns", {},
      card("Every miner", { wide: true, note: "one square each; the darker, the larger its share" }, map.box),
      plotCard(page, {
        path: "plots/checks", title: "Proofs and probes", form: "bars", format: compact, height: 236, range: "24h", on: ["measured"],
        colours: ["good", "warn", "bad"],
      })),
    sides.box,
  ];
}

function tiles(found) {
  const { counts, epoch, submission } = found;
  const left = epoch ? (epoch.tempo - epoch.position) * BLOCK_MS : 0;
  return el("dl.tiles", {},
    tile("Miners that earn", el("span", {}, number(counts.earning), el("small", {}, ` of ${number(counts.miners)}`)), composition(counts)),
    tile("Proven throughput", counts.tops ? tops(counts.tops) : "–", el("p", {}, `${number(counts.gpus)} GPUs, measured`)),
    tile("Epoch", epoch ? `${number(epoch.position)} / ${number(epoch.tempo)}` : "–",
      epoch ? meter(epoch.position / epoch.tempo, `${duration(left).replace(/ \d+ s$/, "")} left`) : null),
    tile("Weights", submission ? state(submission.state) : "none yet",
      el("p", {}, submission ? el("a", { href: `#/weights/${submission.epoch_block}` }, `epoch at ${number(submission.epoch_block)}`) : "nothing was paid yet")),
    tile("Evidence", number(found.evidence), el("p", {}, "signed records, one chain")));
}

function composition({ earning, failing, waiting, miners }) {
  const parts = [["good", earning, "earn"], ["bad", failing, "fail"], ["calm", waiting, "wait"]];
  return el("div", {},
    el("div.composition", { "aria-hidden": "true" }, parts.map(([tone, count]) => el(`span.${tone}`, { style: { "--part": miners ? count / miners : 0 } }))),
    el("p", {}, parts.slice(1).map(([, count, word]) => `${number(count)} ${word}`).join(" · ")));
}

// --- The map -------------------------------------------------------------------------------------

function drawMap(rows) {
  if (!rows.length) return empty("No miner serves on this subnet yet.");
  const box = el("div.map");
  const most = Math.max(1, ...rows.map((row) => row.share_ppm));
  onWidth(box, (width) => fill(box, grid(rows, most, width)));
  return box;
}

function grid(rows, most, width) {
  const cell = Math.max(9, Math.min(30, Math.floor(Math.sqrt((width * 236) / rows.length))));
  const columns = Math.max(1, Math.floor(width / cell));
  const height = Math.ceil(rows.length / columns) * cell;
  const size = cell - Math.max(2, Math.round(cell / 7));
  const cells = rows.map((row, index) => svg("a", {
    href: `#/miners/${row.hotkey}`, tabindex: index ? -1 : 0, "aria-label": `UID ${row.uid}: ${told(row)}`, dataset: { key: `map ${row.hotkey}` },
  }, svg(`rect.${row.state}.${strength(row, most)}`, {
    x: (index % columns) * cell, y: Math.floor(index / columns) * cell, width: size, height: size, rx: Math.min(4, size / 4),
  })));
  const picture = svg("svg", { width: columns * cell, height, role: "group", "aria-label": "Every miner; arrow keys move" }, cells);
  picture.addEventListener("keydown", (event) => move(event, cells, columns));
  picture.addEventListener("pointermove", (event) => {
    const at = cells.indexOf(event.target.closest("a"));
    if (at < 0) hideTip();
    else showTip(event.clientX, event.clientY, tip(rows[at]));
  });
  picture.addEventListener("pointerleave", hideTip);
  return picture;
}

const strength = (row, most) => `s${Math.min(4, Math.floor(Math.sqrt(row.share_ppm / most) * 5))}`;
const told = (row) => (row.state === "earning" ? `earns ${percent(row.share_ppm)}` : row.zero);

function tip(row) {
  return [el("p.when", {}, `UID ${row.uid} · ${short(row.hotkey)}`), el("p", {}, told(row))];
}

function move(event, cells, columns) {
  const here = cells.indexOf(document.activeElement);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (step === undefined || !cells[here + step]) return;
  event.preventDefault();
  cells[here].setAttribute("tabindex", -1);
  cells[here + step].setAttribute("tabindex", 0);
  cells[here + step].focus();
}

// --- Beside it -----------------------------------------------------------------------------------

function beside(found) {
  return el("div.columns.three", {},
    card("GPUs that are paid", {}, bars(Object.entries(found.classes), "Nothing is proven yet.")),
    card("Why others earn nothing", {}, bars(found.troubles, "Everybody earns.", "bad")),
    card("Last measurements", { note: live.state === "live" ? "live" : "" }, activity(found.activity)));
}

function bars(rows, nothing, tone = "") {
  if (!rows.length) return empty(nothing);
  const most = Math.max(...rows.map(([, count]) => count));
  return el("ul.bars", {}, rows.map(([name, count]) => el("li", {}, el("span.name", { title: name }, name.includes(" ") ? sentence(name) : name), el("span.count", {}, number(count)),
    el(`span.track${tone ? `.${tone}` : ""}`, { style: { "--share": count / most } }))));
}

function activity(items) {
  if (!items.length) return empty("Nothing was measured since the validator started.");
  return el("ol.activity", {}, items.slice(0, KEPT).map((item) => el("li", {},
    el("time", { datetime: new Date(item.at_ms).toISOString(), title: ago(item.at_ms) }, time(item.at_ms)),
    el("span", {}, sentence(item.kind)), hotkey(item.hotkey, item.uid),
    el("a", { href: `#/measures/${item.seq}`, dataset: { key: `seq ${item.seq}` } }, state(item.outcome)))));
}
