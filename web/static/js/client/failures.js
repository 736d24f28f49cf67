// @ts-check
// The failures that are true just now. The first cause is shown first: a
// denied camera is not "no picture".
import { signal } from '../lib/signal.js';

/**
 * @typedef {object} Failure
 * @property {string} code
 * @property {string} stage
 * @property {string} participant  identity it is about; "" for oneself
 * @property {string} track
 * @property {string} incident  short number for the registrar; "" if none
 */

export class Failures {
  list = signal(/** @type {Failure[]} */ ([]));

  /** @param {Partial<Failure> & {code: string}} failure */
  add(failure) {
    const full = { stage: '', participant: '', track: '', ...failure, incident: failure.incident ?? '' };
    const others = this.list.peek().filter((f) => !same(f, full));
    this.list.value = [...others, full];
  }

  /** @param {(f: Failure) => boolean} which */
  remove(which) {
    const rest = this.list.peek().filter((f) => !which(f));
    if (rest.length !== this.list.peek().length) this.list.value = rest;
  }

  /** @param {...string} codes of one's own failures that are over */
  clear(...codes) {
    this.remove((f) => f.participant === '' && codes.includes(f.code));
  }
}

/** @param {Failure} a @param {Failure} b */
function same(a, b) {
  return a.code === b.code && a.participant === b.participant && a.track === b.track;
}
