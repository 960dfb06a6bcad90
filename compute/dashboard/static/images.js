// Images that the engine holds.
import { read } from "./api.js";
import { el } from "./dom.js";
import { mib, number } from "./format.js";
import { badge, card, code, kept, table, when } from "./parts.js";

export function images(page) {
  page.title("Images");
  const part = kept(page, {
    load: (signal) => read("images", {}, signal),
    draw: (rows) => card("Images", { wide: true, note: `${number(rows.length)} on this engine, ${mib(rows.reduce((sum, row) => sum + row.size_mib, 0))}` },
      table("Images", COLUMNS, rows, null, "The engine holds no image.")),
    on: ["lease"],
  });
  return [part.box];
}

const COLUMNS = [
  { head: "Image", cell: (row) => code(row.id, 17, 4) },
  { head: "Names", cell: (row) => (row.references.length ? el("div.two", {}, row.references.slice(0, 3).map((name) => el("span", {}, name))) : "none") },
  { head: "Size", num: true, cell: (row) => mib(row.size_mib) },
  { head: "Made", cell: (row) => (row.created_ms ? when(row.created_ms) : "–") },
  { head: "Live leases", num: true, cell: (row) => row.leases || "–" },
  { head: "Use", cell: (row) => (row.default ? badge("default", "good") : "") },
];
