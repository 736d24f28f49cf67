// @ts-check
// Nobody else comes: said after a while, and taken back when somebody does.
import { effect } from '../lib/signal.js';

const CODE = 'PEER_ABSENT';

/**
 * Watches a call until it is over. Only a person who has never had company in
 * this call is told: being left is something else.
 * @param {import('./call.js').Call} call
 * @param {number} seconds
 * @param {import('./log.js').ClientLog} log
 */
export function watchAbsence(call, seconds, log) {
  let timer = 0;
  const stop = effect(() => {
    const phase = call.phase.value;
    const company = call.roster.others.value.some((p) => p.state !== 'waiting');
    if (phase === 'joined' && !company) {
      timer ||= setTimeout(() => {
        log.add('flowing', 'nobody else has come', { seconds }, CODE);
        call.failures.add({ code: CODE, stage: 'flowing' });
      }, seconds * 1000);
    } else if (company || phase === 'ended' || phase === 'refused') {
      clearTimeout(timer);
      call.failures.clear(CODE);
      stop();
    }
  });
}
