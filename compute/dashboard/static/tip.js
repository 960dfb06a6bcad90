// The one tooltip of the page. What it says is also in the plots' tables and labels.
import { fill } from "./dom.js";

const box = document.getElementById("tip");

/** Shows it beside a point of the window. */
export function showTip(x, y, ...content) {
  fill(box, ...content);
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = x + 14 + width > innerWidth - 8 ? x - 14 - width : x + 14;
  const top = Math.min(Math.max(8, y - height / 2), innerHeight - height - 8);
  box.style.setProperty("translate", `${Math.max(8, left)}px ${top}px`);
}

export function hideTip() {
  box.hidden = true;
}
