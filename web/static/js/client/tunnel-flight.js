// @ts-check
// What was sent and is not known to have arrived. A WebSocket hides what is on
// its way, and a proxy has buffers that nobody sees; so the server tells how
// much it has got.

export class Flight {
  sent = 0;
  #arrived = 0;
  /** The byte before end was sent at. @type {{end: number, at: number}[]} */ #marks = [];

  /** @param {number} bytes @param {number} now ms */
  add(bytes, now) {
    this.sent += bytes;
    this.#marks.push({ end: this.sent, at: now });
  }

  /** The server has got so many bytes. @param {number} total */
  received(total) {
    if (total < this.#arrived || total > this.sent) return;
    this.#arrived = total;
    const waiting = this.#marks.findIndex((m) => m.end > total);
    this.#marks.splice(0, waiting < 0 ? this.#marks.length : waiting);
  }

  /** How long the oldest byte is on its way, ms. @param {number} now */
  age(now) {
    return this.#marks.length ? now - this.#marks[0].at : 0;
  }
}
