// Starts the page: whose it is, where one can go, the live connection, the theme.
import { live, read } from "./api.js";
import { el, fill } from "./dom.js";
import { number, short } from "./format.js";
import { hideTip } from "./tip.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const pulse = document.getElementById("pulse");
let about = null;
let leaving = new AbortController();

const ROLES = { validator: () => import("./validator.js"), miner: () => import("./miner.js") };
let routes = [];
let tabs = [];

async function start() {
  theme();
  try {
    about = await read("about");
  } catch (error) {
    fill(main, el("div.refusal", { role: "alert" }, el("p", {}, error.message), el("p", {}, error.hint)));
    setTimeout(start, 3000);
    return;
  }
  ({ routes, tabs } = await ROLES[about.role]());
  fill(document.getElementById("whose"), el("b", {}, about.role), ` · subnet ${about.netuid} · ${about.network}`);
  document.getElementById("whose").title = `${about.hotkey}, version ${about.version}`;
  addEventListener("hashchange", () => go(true));
  listen();
  go(false);
}

// --- Where one is --------------------------------------------------------------------------------

function go(moved) {
  leaving.abort();
  leaving = new AbortController();
  hideTip();
  const [path, query] = (location.hash.slice(1) || "/").split("?");
  for (const [pattern, make] of routes) {
    const match = pattern.exec(path);
    if (match) return show(make, match.slice(1).map(decodeURIComponent), query, path, moved);
  }
  title("Not found");
  fill(main, el("h1", {}, "There is no such page"), el("p", {}, el("a", { href: "#/" }, "To the overview")));
}

function show(make, parts, query, path, moved) {
  const page = { signal: leaving.signal, query: Object.fromEntries(new URLSearchParams(query)), title, role: about.role };
  const content = make(page, ...parts);
  fill(main, el("h1.sr", { id: "heading" }, document.title.split(" · ")[0]), content);
  fill(nav, tabs.map(([to, text, also]) => {
    const here = to === "/" ? path === "/" : path.startsWith(to) || also?.some((one) => path.startsWith(one));
    return el("li", {}, el("a", { href: `#${to}`, "aria-current": here ? "page" : null }, text));
  }));
  if (moved) {
    scrollTo(0, 0);
    main.focus({ preventScroll: true });
  }
}

function title(text) {
  document.title = `${text} · ${about?.role ?? "compute"} ${about ? short(about.hotkey) : ""}`;
  const heading = document.getElementById("heading");
  if (heading) heading.textContent = text;
}

// --- What happens --------------------------------------------------------------------------------

const PULSE = { waiting: "Connecting", live: "Live", lost: "Connection lost" };

function listen() {
  live.addEventListener("state", () => beat(live.state));
  live.addEventListener("block", ({ detail }) => {
    pulse.title = `Block ${number(detail.items.at(-1).block)}`;
    fill(pulse, el("span", {}, "Live"), el("small", { "aria-hidden": "true" }, ` ${number(detail.items.at(-1).block)}`));
  });
  live.start();
}

function beat(state) {
  pulse.dataset.state = state;
  fill(pulse, el("span", {}, PULSE[state]));
}

// --- How it looks --------------------------------------------------------------------------------

const THEMES = { "": "dark", dark: "light", light: "" };
const NAMES = { "": "as the system", dark: "dark", light: "light" };

function theme() {
  const button = document.getElementById("theme");
  const root = document.documentElement;
  const say = () => { button.title = `Theme: ${NAMES[root.dataset.theme ?? ""]}`; };
  button.onclick = () => {
    const next = THEMES[root.dataset.theme ?? ""];
    if (next) root.dataset.theme = next;
    else delete root.dataset.theme;
    localStorage.setItem("theme", next);
    say();
  };
  say();
}

start();
