// @ts-check
// Nobody else comes: the server says so, and it is over when somebody does.
import { effect } from '../lib/signal.js';

/**
 * Takes PEER_ABSENT back. Watches a call until it is over.
 * @param {import('./call.js').Call} call
 */
export function watchAbsence(call) {
  const stop = effect(() => {
    const phase = call.phase.value;
    const company = call.roster.others.value.length > 0; // he who waits has come, too
    if (company) call.failures.clear('PEER_ABSENT');
    if (phase === 'ended' || phase === 'refused') stop();
  });
}
