// @ts-check
// The client's own log for the journal. It is kept from the first line of the
// page, before there is a socket, and sent when there is one.

/** @typedef {import('./messages.js').LogEntry} LogEntry */

const CAPACITY = 400; // entries kept for later; the newest are dropped and counted
const CAPACITY_BYTES = 400_000; // of them together
const ENTRY_BYTES = 40_000; // a longer one is kept without what it had to say
const BATCH = 40;
const BATCH_BYTES = 50_000;
const DELAY = 400; // ms

export class ClientLog {
  /** @type {LogEntry[]} */ #entries = [];
  /** Failures that were told already. @type {WeakSet<LogEntry>} */
  #told = new WeakSet();
  #bytes = 0;
  #dropped = 0;
  #timer = 0;
  /** @type {((entries: LogEntry[]) => void) | null} */ #send = null;

  /**
   * @param {string} stage page, socket, devices, offer, ice, dtls, first_rtp, first_frame or flowing
   * @param {string} text
   * @param {Record<string, any>} [data]
   * @param {string} [code] set when something failed
   */
  add(stage, text, data, code) {
    /** @type {LogEntry} */
    const entry = { time: Date.now(), stage, text };
    if (code) entry.code = code;
    if (data && Object.keys(data).length) entry.data = data;
    let bytes = size(entry);
    if (bytes > ENTRY_BYTES) {
      entry.data = { too_long: bytes };
      bytes = size(entry);
    }
    if (this.#entries.length >= CAPACITY || this.#bytes + bytes > CAPACITY_BYTES) {
      this.#dropped++;
      return;
    }
    this.#bytes += bytes;
    this.#entries.push(entry);
    if (code) this.#hurry();
    this.#schedule();
  }

  /**
   * Names the way out; null holds the entries back.
   * @param {((entries: LogEntry[]) => void) | null} send
   */
  deliverTo(send) {
    this.#send = send;
    this.#schedule();
  }

  /**
   * Takes what has not been sent, for a way out that is not the socket. A code
   * that was told is not told again: each is one failure to whoever listens.
   */
  take() {
    this.#bytes = 0;
    return this.#entries.splice(0).map((entry) => {
      if (!this.#told.has(entry)) return entry;
      const { code, ...rest } = entry;
      return { ...rest, data: { ...rest.data, told: code } };
    });
  }

  /**
   * The failures nobody was told of yet, for somebody who may never get as far
   * as a socket. They stay in the log too, to arrive in their order.
   */
  failures() {
    const fresh = this.#entries.filter((e) => e.code && !this.#told.has(e));
    for (const e of fresh) this.#told.add(e);
    return fresh;
  }

  /** A failure is not kept waiting. */
  #hurry() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#schedule(0);
  }

  #schedule(delay = DELAY) {
    if (!this.#send || this.#timer || !this.#entries.length) return;
    this.#timer = setTimeout(() => {
      this.#timer = 0;
      if (!this.#send) return;
      if (this.#dropped) {
        const told = { time: Date.now(), stage: 'page', text: 'log entries dropped', data: { count: this.#dropped } };
        this.#bytes += size(told);
        this.#entries.push(told);
        this.#dropped = 0;
      }
      const [batch] = batches(this.#entries, BATCH, BATCH_BYTES);
      if (!batch) return; // all was taken meanwhile
      this.#entries.splice(0, batch.length);
      for (const e of batch) this.#bytes -= size(e);
      this.#send(batch);
      this.#schedule();
    }, delay);
  }
}

/** Bytes of an entry on its way. @param {LogEntry} entry */
function size(entry) {
  return new Blob([JSON.stringify(entry)]).size;
}

/**
 * Entries in portions, in order; none is without an entry.
 * @param {LogEntry[]} entries @param {number} count  in one at most
 * @param {number} bytes  in one at most, unless it is a single entry
 */
export function batches(entries, count, bytes) {
  /** @type {LogEntry[][]} */
  const list = [];
  let left = 0;
  for (const e of entries) {
    const last = list.at(-1);
    const needed = size(e) + 1;
    if (last && last.length < count && needed <= left) last.push(e);
    else {
      list.push([e]);
      left = bytes;
    }
    left -= needed;
  }
  return list;
}
