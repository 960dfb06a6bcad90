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
  const answer = await ask(`/api/${path}${tail}`, signal);
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw new Refusal(body?.detail || body?.title || `Status ${answer.status}`, body?.hint || "", answer.status);
  return body;
}

/** Fetches, once more when the connection breaks: a network that changes breaks those under way. */
async function ask(address, signal, again = true) {
  try {
    return await fetch(address, { signal, headers: { accept: "application/json" } });
  } catch (error) {
    if (signal?.aborted) throw error;
    if (!again) throw new Refusal("The neuron does not answer", "It may be restarting. This page tries again by itself.", 0);
    await new Promise((done) => setTimeout(done, 300));
    return ask(address, signal, false);
  }
}

const KINDS = ["block", "measured", "weights", "lease"];

/**
 * The stream of what happens; one for the whole page, and only while somebody sees it: browsers open
 * no more than six connections to a server, and each stream holds one of them.
 */
class Live extends EventTarget {
  state = "waiting";
  #source = null;
  #heard = false;

  start() {
    const turn = () => (document.hidden ? this.#close() : this.#open());
    document.addEventListener("visibilitychange", turn);
    addEventListener("pageshow", turn);
    addEventListener("pagehide", () => this.#close());
    turn();
  }

  #open() {
    if (this.#source) return;
    this.#source = new EventSource("/api/events");
    this.#source.addEventListener("hello", () => this.#turn("live"));
    this.#source.addEventListener("error", () => this.#turn("lost"));
    for (const kind of KINDS) {
      this.#source.addEventListener(kind, (event) => this.dispatchEvent(new CustomEvent(kind, { detail: JSON.parse(event.data) })));
    }
  }

  #close() {
    this.#source?.close();
    this.#source = null;
  }

  /** Tells the state, and that something may have been missed when it is live again. */
  #turn(state) {
    const back = state === "live" && this.#heard;
    if (state !== this.state) {
      this.state = state;
      this.dispatchEvent(new CustomEvent("state"));
    }
    this.#heard ||= state === "live";
    if (back) this.dispatchEvent(new CustomEvent("back"));
  }
}

export const live = new Live();
