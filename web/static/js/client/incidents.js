// @ts-check
// Incident numbers of one's own failures, as the server told them: what a
// person reads out on the telephone. One page is one person, so there is one
// list of them; what shows a number in an effect shows it when it comes.
import { signal } from '../lib/signal.js';

const numbers = signal(/** @type {Record<string, string>} */ ({}));

/** @param {Record<string, unknown> | undefined} told  number by failure code */
export function learnIncidents(told) {
  const all = { ...numbers.peek() };
  for (const [code, number] of Object.entries(told ?? {})) if (typeof number === 'string' && number) all[code] = number;
  numbers.value = all;
}

/** The last number of a failure, "" before the server has told it. @param {string} code */
export function incidentOf(code) {
  return numbers.value[code] ?? '';
}
