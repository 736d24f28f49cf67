// @ts-check
// What was sent and is not acknowledged, and what was asked and not answered.

/** @typedef {import('./messages.js').Envelope} Envelope */

// The most messages kept for a socket that is away. Reports and log entries
// make nearly all of them; beyond it the oldest that nobody waits for are
// replaced by nothing-said placeholders, because numbers have no gaps.
const CAPACITY = 300;

const ACK_LENGTH = 25; // bytes that "ack" adds to a message when it is sent

export class Outbox {
  #seq = 0;
  #id = 0;
  /** @type {Envelope[]} */ #kept = [];
  /** @type {Map<string, {resolve: (body: any) => void, reject: (e: Error) => void}>} */
  #waiting = new Map();

  /**
   * Numbers a message and keeps it.
   * @param {{type: string, body: any, id?: string}} message
   * @returns {Envelope}
   */
  add(message) {
    const envelope = { ...message, seq: ++this.#seq };
    this.#kept.push(envelope);
    if (this.#kept.length > CAPACITY) this.#thin();
    return envelope;
  }

  /**
   * @param {{type: string, body: any}} message
   * @returns {{envelope: Envelope, reply: Promise<any>}}
   */
  request(message) {
    const id = `r${++this.#id}`;
    const reply = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    return { envelope: this.add({ ...message, id }), reply };
  }

  /** @param {number} seq */
  acknowledge(seq) {
    this.#kept = this.#kept.filter((e) => (e.seq ?? 0) > seq);
  }

  unacknowledged() {
    return [...this.#kept];
  }

  /** @param {string} id @param {any} body */
  settle(id, body) {
    this.#waiting.get(id)?.resolve(body);
    this.#waiting.delete(id);
  }

  /** @param {string} id @param {Error} error */
  fail(id, error) {
    this.#waiting.get(id)?.reject(error);
    this.#waiting.delete(id);
  }

  /**
   * A new session: numbers start again and nothing of the old one is sent.
   * @param {Error} error for those who wait
   */
  reset(error) {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#kept = [];
    this.#seq = 0;
    for (const { reject } of waiting) reject(error);
  }

  /**
   * Gives up messages that the server will not take. Their numbers stay.
   * @param {number} bytes  the longest message it takes
   * @param {Error} error  for those who wait
   * @returns {string[]} the types given up
   */
  discardLonger(bytes, error) {
    const encoder = new TextEncoder();
    const long = this.#kept.filter((e) => encoder.encode(JSON.stringify(e)).length + ACK_LENGTH > bytes);
    const types = long.map((e) => e.type);
    for (const envelope of long) {
      if (envelope.id) this.fail(envelope.id, error);
      delete envelope.id;
      envelope.type = 'log';
      envelope.body = { entries: [] };
    }
    return types;
  }

  /** Empties the oldest report or log entry still full; its number stays. */
  #thin() {
    const victim = this.#kept.find((e) => e.type === 'report' || (e.type === 'log' && e.body.entries.length));
    if (!victim) return;
    victim.type = 'log';
    victim.body = { entries: [] };
  }
}
