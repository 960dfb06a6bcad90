// Reads from the neuron, and listens to it.

/** What the neuron refused or could not answer, for a person. */
export class Refusal extends Error {
  constructor(title, hint, status) {
    super(title);
    this.hint = hint;
    this.status = status;
  }
}

/**
 * Reads one answer.
 * @param {string} path below `/api/`.
 * @param {Object} query empty values are left out.
 */
export async function read(path, query = {}, signal = undefined) {
  const wanted = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const tail = wanted.length ? `?${new URLSearchParams(wanted)}` : "";
  let answer;
  try {
    answer = await fetch(`/api/${path}${tail}`, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The neuron does not answer", "It may be restarting. This page tries again by itself.", 0);
  }
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(body?.detail || body?.title || `Status ${answer.status}`, body?.hint || "", answer.status);
  return body;
}

/** The stream of what happens; one for the whole page. */
class Live extends EventTarget {
  state = "waiting";
  #source = null;

  start() {
    this.#source = new EventSource("/api/events");
    this.#source.addEventListener("hello", () => this.#turn("live"));
    this.#source.addEventListener("error", () => this.#turn("lost"));
    for (const kind of ["block", "measured", "weights", "lease"]) {
      this.#source.addEventListener(kind, (event) => this.dispatchEvent(new CustomEvent(kind, { detail: JSON.parse(event.data) })));
    }
  }

  #turn(state) {
    if (state === this.state) return;
    const back = this.state === "lost" && state === "live";
    this.state = state;
    this.dispatchEvent(new CustomEvent("state"));
    if (back) this.dispatchEvent(new CustomEvent("back"));
  }
}

export const live = new Live();
