// @ts-check
// The failures that are true just now. The first cause is shown first: a
// denied camera is not "no picture". What only makes a call worse than it could
// be is a note, and nobody is alarmed by it.
import { signal } from '../lib/signal.js';

/**
 * @typedef {object} Failure
 * @property {string} code
 * @property {string} stage
 * @property {string} participant  identity it is about; "" for oneself
 * @property {string} track
 * @property {string} incident  short number for the registrar; "" if none
 */

// The call works; whoever runs the network can make it better.
const NOTES = ['UDP_BLOCKED'];

export class Failures {
  list = signal(/** @type {Failure[]} */ ([]));
  notes = signal(/** @type {Failure[]} */ ([]));

  /** @param {Partial<Failure> & {code: string}} failure */
  add(failure) {
    const full = { stage: '', participant: '', track: '', ...failure, incident: failure.incident ?? '' };
    const list = NOTES.includes(full.code) ? this.notes : this.list;
    list.value = [...list.peek().filter((f) => !same(f, full)), full];
  }

  /** @param {(f: Failure) => boolean} which */
  remove(which) {
    for (const list of [this.list, this.notes]) {
      const rest = list.peek().filter((f) => !which(f));
      if (rest.length !== list.peek().length) list.value = rest;
    }
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
