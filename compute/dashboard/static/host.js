// The machine: what it has, what is leased, how well it is.
import { read } from "./api.js";
import { el } from "./dom.js";
import { mib, number, percent, roundPercent, short } from "./format.js";
import { board, LEASE_COLUMNS } from "./leases.js";
import { badge, card, empty, facts, kept, meter, plotCard, SHORT_RANGES, table, tile } from "./parts.js";

export function host(page) {
  page.title("Machine");
  const now = (draw) => kept(page, { load: (signal) => read("overview", {}, signal), draw, on: ["lease"] }).box;
  return [
    now(tiles),
    el("div.columns", {},
      plotCard(page, {
        path: "plots/usage", title: "In use by leases", form: "line", format: (value) => percent(value * 1e6), axis: (value) => roundPercent(value * 1e6), most: 1, wide: true, height: 220, range: "24h",
        ranges: SHORT_RANGES, on: ["lease"], note: "share of what can be leased, tests not counted",
      }),
      card("This machine", {}, now(about))),
    board(page),
    card("Live leases", { wide: true }, now((found) => table("Live leases", LEASE_COLUMNS, found.live, null, "Nothing is leased out right now."))),
    card("GPUs", { wide: true }, now(gpus)),
  ];
}

function tiles(found) {
  const { total, free } = found;
  const share = (name, text) => {
    const used = total[name] - free[name];
    return [text(used), total[name] ? meter(used / total[name], `of ${text(total[name])}`, used / total[name] > 0.9 ? "warn" : "") : el("p", {}, "none to lease")];
  };
  const one = (label, name, text = number) => {
    const [value, more] = share(name, text);
    return tile(label, value, more);
  };
  return el("dl.tiles", {},
    total.gpus ? one("GPUs leased", "gpus") : one("CPUs leased", "cpus"),
    total.gpus ? one("CPUs leased", "cpus") : one("Memory leased", "memory_mib", mib),
    one("Disk leased", "disk_mib", mib),
    tile("Leases", number(found.live.length), el("p", {}, `${number(found.ended_day)} ended in 24 h, ${number(found.failed_day)} failed`)),
    tile("Container engine", found.engine_up ? badge("up", "good") : badge("away", "bad"), el("p", {}, `version ${found.engine}${found.overdue ? `, ${found.overdue} overdue` : ""}`)));
}

function about({ host: machine }) {
  return facts([
    ["Processor", `${machine.cpus} × ${machine.cpu_model}`], ["Memory", mib(machine.memory_mib)],
    machine.driver ? ["GPU driver", machine.driver] : ["GPUs", machine.gpu_note || "none"],
    ...machine.disks.map((disk) => [`Disk ${disk.mount}`, meter(1 - disk.free_mib / disk.total_mib, `${mib(disk.free_mib)} free of ${mib(disk.total_mib)}`, disk.free_mib / disk.total_mib < 0.1 ? "bad" : "")]),
    ["Software", Object.entries(machine.software).map(([name, version]) => `${name} ${version}`).join(", ")],
  ]);
}

function gpus({ gpus: all, host: machine }) {
  if (!all.length) return empty(machine.gpu_note ? `No GPU: ${machine.gpu_note}` : "This machine has no GPU.");
  return table("GPUs", [
    { head: "#", num: true, cell: (gpu) => gpu.index },
    { head: "Model", cell: (gpu) => el("div.two", {}, gpu.model, el("small", { title: gpu.uuid }, short(gpu.uuid, 12, 4))) },
    { head: "Memory", num: true, cell: (gpu) => mib(gpu.memory_mib) },
    { head: "Held by", cell: (gpu) => (gpu.lease ? el("a", { href: `#/leases/${gpu.lease}` }, el("code", {}, gpu.lease.slice(0, 10))) : "nobody") },
    { head: "Temperature", num: true, cell: (gpu) => (gpu.temperature_c === null ? "–" : `${gpu.temperature_c} °C`) },
    { head: "ECC errors", num: true, cell: (gpu) => gpu.ecc_errors },
    { head: "Last Xid", num: true, cell: (gpu) => gpu.xid || "–" },
    { head: "Fit", cell: (gpu) => (gpu.unfit ? el("div.two", {}, badge("held back", "warn"), el("small", {}, gpu.unfit)) : badge("yes", "good")) },
  ], all);
}

