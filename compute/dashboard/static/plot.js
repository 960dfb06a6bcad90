// Plots over time as inline SVG: lines with their envelope, stacked areas, stacked bars.
// Every plot can be read with the arrow keys and as a table.
import { el, fill, onWidth, spoken, svg } from "./dom.js";
import { full, stamp, tick } from "./format.js";
import { hideTip, showTip } from "./tip.js";

const PAD = { top: 10, right: 8, bottom: 24, left: 48 };
const TABLE_ROWS = 60;

/**
 * @typedef {Object} PlotOptions
 * @property {string} label what it shows, for its name.
 * @property {"line"|"area"|"stack"|"bars"} form
 * @property {(value: number) => string} format
 * @property {(value: number) => string} axis labels of the axis, when shorter ones will do.
 * @property {string[]} colours a CSS class for each series; `c1`, `c2`, … when left out.
 * @property {Object<string, string>} names a word for each series' name.
 * @property {number} height
 * @property {number} most least upper end of the axis.
 * @property {string} empty what to say when there is nothing.
 */

/** Makes a plot from an answer of the neuron; `PlotOptions` say how. */
export function timePlot(data, options) {
  const series = data.series.map((one, at) => ({
    ...one,
    label: options.names?.[one.name] ?? one.name,
    colour: options.colours?.[at] ?? `c${(at % 9) + 1}`,
  }));
  const drawn = { ...data, series, stacked: ["stack", "bars"].includes(options.form) };
  const root = el("figure.plot", { dataset: { form: options.form } });
  if (!series.some((one) => one.values.some((value) => value !== null))) {
    root.append(el("p.empty", {}, options.empty ?? "Nothing to show for this time yet."));
    return root;
  }
  const canvas = el("div.canvas", {
    tabindex: 0,
    role: "group",
    "aria-roledescription": "plot",
    "aria-label": `${options.label}. Arrow keys read its values.`,
    dataset: { key: `plot ${options.label}` },
  });
  const said = el("p.sr", { "aria-live": "polite" });
  const table = el("div.plot-table", { hidden: true, tabindex: 0, role: "region", "aria-label": `${options.label}, as a table` });
  const toggle = el("button.quiet", {
    type: "button", "aria-pressed": "false", on: { click: () => flip(canvas, table, toggle, drawn, options) },
  }, "Table", spoken(` of ${options.label}`));
  root.append(canvas, table, said, el("div.under", {}, legend(series), toggle));
  onWidth(canvas, (width) => draw(canvas, said, drawn, options, width));
  return root;
}

function legend(series) {
  if (series.length < 2) return el("span");
  return el("ul.legend", {}, series.map((one) => el("li", {}, el(`span.swatch.${one.colour}`), one.label)));
}

function flip(canvas, table, toggle, data, options) {
  const show = table.hidden;
  table.hidden = !show;
  canvas.hidden = show;
  toggle.setAttribute("aria-pressed", String(show));
  toggle.firstChild.textContent = show ? "Plot" : "Table";
  if (show && !table.firstChild) table.append(asTable(data, options));
}

function asTable(data, options) {
  const rows = data.times_ms.map((at, index) => [at, index])
    .filter(([, index]) => data.series.some((one) => one.values[index] !== null))
    .slice(-TABLE_ROWS).reverse();
  return el("table", {},
    el("caption.sr", {}, options.label),
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Time"), data.series.map((one) => el("th.num", { scope: "col" }, one.label)))),
    el("tbody", {}, rows.map(([at, index]) => el("tr", {},
      el("th", { scope: "row" }, full(at)),
      data.series.map((one) => el("td.num", {}, one.values[index] === null ? "–" : options.format(one.values[index])))))));
}

// --- Drawing -------------------------------------------------------------------------------------

function draw(canvas, said, data, options, width) {
  const height = options.height ?? 220;
  const layers = data.stacked ? stacked(data.series) : data.series.map((one) => ({ ...one, low: one.least ?? [], high: one.most ?? [] }));
  const axis = niceAxis(Math.max(options.most ?? 0, top(layers, data.stacked)));
  const labels = axis.steps.map(options.axis ?? options.format);
  const left = Math.max(PAD.left, 14 + 6.6 * Math.max(...labels.map((label) => label.length)));
  const inner = { x: left, y: PAD.top, w: width - left - PAD.right, h: height - PAD.top - PAD.bottom };
  const at = {
    x: (ms) => inner.x + (inner.w * (ms - data.start_ms)) / (data.end_ms - data.start_ms),
    y: (value) => inner.y + inner.h * (1 - value / axis.end),
    ground: inner.y + inner.h,
    bar: (inner.w / data.times_ms.length) * 0.72,
  };
  const cross = svg("line.cross", { y1: inner.y, y2: at.ground, x1: -9, x2: -9 });
  const dots = data.series.map((one) => svg(`circle.dot.${one.colour}`, { r: 3.5, cx: -9, cy: -9 }));
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" },
    grid(axis, labels, at, inner, width), ticks(data, at, inner),
    layers.map((layer) => shape(layer, data, options.form, at)), cross, dots);
  fill(canvas, picture);
  reading(canvas, said, data, options, layers, { at, inner, cross, dots, picture });
}

function stacked(series) {
  const sums = new Array(series[0].values.length).fill(0);
  return series.map((one) => {
    const low = [...sums];
    one.values.forEach((value, index) => { sums[index] += value ?? 0; });
    const known = sums.map((sum, index) => (series.every((each) => each.values[index] === null) ? null : sum));
    return { ...one, low, high: known };
  });
}

function top(layers, isStacked) {
  const values = layers.flatMap((layer) => (isStacked ? layer.high : [...layer.values, ...(layer.most ?? [])]));
  return Math.max(0, ...values.filter((value) => value !== null));
}

function niceAxis(most) {
  if (most <= 0) return { end: 1, steps: [0, 1] };
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((part) => part * power).find((part) => part >= rough * 0.999);
  const count = Math.ceil((most / step) * 0.9999);
  return { end: step * count, steps: Array.from({ length: count + 1 }, (_, index) => step * index) };
}

function grid(axis, labels, at, inner, width) {
  return axis.steps.map((value, index) => svg("g", {},
    svg(index ? "line.grid" : "line.base", { x1: inner.x, x2: width - PAD.right, y1: at.y(value), y2: at.y(value) }),
    svg("text.axis", { x: inner.x - 8, y: at.y(value) + 4, "text-anchor": "end" }, labels[index])));
}

const MINUTE = 60_000;
const STEPS = [5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 4320, 7200, 10_080, 20_160, 43_830, 87_660].map((step) => step * MINUTE);

/** Round moments of a span with their labels, as many as fit; none so near an end that it is cut. */
export function moments(start, end, width) {
  const length = end - start;
  const step = STEPS.find((one) => (length / one) * 62 <= width) ?? STEPS.at(-1);
  const shift = new Date(start).getTimezoneOffset() * MINUTE;
  const found = [];
  for (let ms = Math.ceil((start - shift) / step) * step + shift; ms < end; ms += step) found.push(ms);
  const edge = (length / width) * 18;
  return found.filter((ms) => ms > start + edge && ms < end - edge).map((ms) => ({ ms, label: tick(ms, step) }));
}

function ticks(data, at, inner) {
  return moments(data.start_ms, data.end_ms, inner.w).map(({ ms, label }) => svg("g", {},
    svg("line.notch", { x1: at.x(ms), x2: at.x(ms), y1: at.ground, y2: at.ground + 4 }),
    svg("text.axis", { x: at.x(ms), y: at.ground + 17, "text-anchor": "middle" }, label)));
}

function shape(layer, data, form, at) {
  if (form === "bars") return bars(layer, data, at);
  if (form === "stack") return svg(`path.fill.${layer.colour}`, { d: band(layer.low, layer.high, data.times_ms, at) });
  const parts = [];
  if (layer.high?.length) parts.push(svg(`path.band.${layer.colour}`, { d: band(layer.low, layer.high, data.times_ms, at) }));
  if (form === "area") parts.push(svg(`path.under.${layer.colour}`, { d: band(layer.values.map(() => 0), layer.values, data.times_ms, at) }));
  parts.push(svg(`path.line.${layer.colour}`, { d: line(layer.values, data.times_ms, at) }));
  return svg("g", {}, parts, lonely(layer, data, at));
}

/** Runs of values without a gap, as indexes; a gap of a few buckets is bridged where values are sparse. */
function runs(values) {
  const known = values.map((value, index) => (value === null ? -1 : index)).filter((index) => index >= 0);
  const gaps = known.slice(1).map((index, at) => index - known[at]).sort((a, b) => a - b);
  const usual = Math.max(1, gaps[Math.floor(gaps.length / 2)] ?? 1) * 2.5;
  const found = [];
  known.forEach((index, at) => {
    if (at && index - known[at - 1] <= usual) found.at(-1).push(index);
    else found.push([index]);
  });
  return found;
}

const point = (index, value, times, at) => `${at.x(times[index]).toFixed(1)},${at.y(value).toFixed(1)}`;

function line(values, times, at) {
  return runs(values).map((run) => `M${run.map((index) => point(index, values[index], times, at)).join("L")}`).join("");
}

function band(low, high, times, at) {
  return runs(high).map((run) => {
    const up = run.map((index) => point(index, high[index], times, at));
    const down = [...run].reverse().map((index) => point(index, low[index] ?? high[index], times, at));
    return `M${[...up, ...down].join("L")}Z`;
  }).join("");
}

function lonely(layer, data, at) {
  return runs(layer.values).filter((run) => run.length === 1).map(([index]) =>
    svg(`circle.alone.${layer.colour}`, { r: 2, cx: at.x(data.times_ms[index]), cy: at.y(layer.values[index]) }));
}

function bars(layer, data, at) {
  const parts = layer.values.map((value, index) => {
    if (!value) return "";
    const x = at.x(data.times_ms[index]) - at.bar / 2;
    return `M${x.toFixed(1)},${at.y(layer.low[index]).toFixed(1)}v${(at.y(layer.high[index]) - at.y(layer.low[index])).toFixed(1)}h${at.bar.toFixed(1)}V${at.y(layer.low[index]).toFixed(1)}Z`;
  });
  return svg(`path.bar.${layer.colour}`, { d: parts.join("") });
}

// --- Reading -------------------------------------------------------------------------------------

function reading(canvas, said, data, options, layers, drawn) {
  const known = data.times_ms.map((_, index) => index).filter((index) => data.series.some((one) => one.values[index] !== null));
  let here = known.length;
  const place = (index) => {
    const { at, cross, dots } = drawn;
    const x = at.x(data.times_ms[index]);
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    layers.forEach((layer, order) => {
      const value = data.stacked ? layer.high[index] : layer.values[index];
      const hidden = value === null || layer.values[index] === null || options.form === "bars";
      dots[order].setAttribute("cx", hidden ? -9 : x);
      dots[order].setAttribute("cy", hidden ? -9 : at.y(value));
    });
    const box = drawn.picture.getBoundingClientRect();
    showTip(box.left + x, box.top + drawn.inner.h / 2, tipOf(data, options, index));
  };
  const away = () => {
    hideTip();
    for (const mark of [drawn.cross, ...drawn.dots]) mark.setAttribute(mark.tagName === "line" ? "x1" : "cx", -9);
    drawn.cross.setAttribute("x2", -9);
  };
  canvas.onpointermove = (event) => {
    const box = drawn.picture.getBoundingClientRect();
    const ms = data.start_ms + ((event.clientX - box.left - drawn.inner.x) / drawn.inner.w) * (data.end_ms - data.start_ms);
    here = nearest(known, data.times_ms, ms);
    place(known[here]);
  };
  canvas.onpointerleave = away;
  canvas.onblur = away;
  canvas.onkeydown = (event) => {
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: known.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    here = Math.min(Math.max(to, 0), known.length - 1);
    place(known[here]);
    said.textContent = spokenOf(data, options, known[here]);
  };
}

function nearest(known, times, ms) {
  let low = 0;
  let high = known.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[known[middle]] < ms) low = middle + 1;
    else high = middle;
  }
  return low && ms - times[known[low - 1]] < times[known[low]] - ms ? low - 1 : low;
}

function tipOf(data, options, index) {
  const rows = data.series.filter((one) => one.values[index] !== null);
  const shown = data.stacked ? [...rows].reverse() : rows;
  return [
    el("p.when", {}, stamp(data.times_ms[index], data.end_ms - data.start_ms)),
    el("dl", {}, shown.map((one) => [
      el("dt", {}, el(`span.swatch.${one.colour}`), one.label),
      el("dd", {}, options.format(one.values[index]), spread(one, index, options.format)),
    ])),
  ];
}

function spread(one, index, format) {
  const [least, most] = [one.least?.[index], one.most?.[index]];
  if (least === undefined || least === null || most - least < most * 0.001) return null;
  return el("small", {}, ` ${format(least)} – ${format(most)}`);
}

function spokenOf(data, options, index) {
  const values = data.series.filter((one) => one.values[index] !== null).map((one) => `${one.label} ${options.format(one.values[index])}`);
  return `${full(data.times_ms[index])}: ${values.join(", ")}`;
}

/** A line as small as a word; its ends are told in words. */
export function spark(values, format) {
  const known = values.filter((value) => value !== null);
  if (known.length < 2) return el("span.none", {}, "–");
  const most = Math.max(...known) || 1;
  const at = { x: (index) => 1 + (index / (values.length - 1)) * 94, y: (value) => 25 - (value / most) * 23 };
  const times = values.map((_, index) => index);
  return svg("svg.spark", { viewBox: "0 0 96 26", width: 96, height: 26, role: "img", "aria-label": `from ${format(known[0])} to ${format(known.at(-1))}` },
    svg("path.under.c1", { d: band(values.map(() => 0), values, times, at) }),
    svg("path.line.c1", { d: line(values, times, at) }));
}
