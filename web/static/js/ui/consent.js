// @ts-check
// The sentence about recording: accepted before joining, or no call.
import { h } from '../lib/element.js';

/**
 * @param {import('../lib/scope.js').Scope} scope
 * @param {import('../lib/signal.js').Signal<boolean>} accepted
 * @param {() => void} onRefuse
 */
export function consentBox(scope, accepted, onRefuse) {
  const yes = h('input', { type: 'checkbox', id: 'consent-accept', 'data-testid': 'consent-accept' });
  scope.listen(yes, 'change', () => {
    accepted.value = yes.checked;
  });
  const refuse = h('button', { type: 'button', class: 'link', 'data-testid': 'consent-refuse', onclick: onRefuse });
  return h('fieldset', { class: 'consent' },
    scope.text(h('legend'), 'consent.title'),
    scope.text(h('p', { 'data-testid': 'consent-text', id: 'consent-text' }), 'consent.text'),
    h('div', { class: 'check' }, yes, scope.text(h('label', { for: 'consent-accept' }), 'consent.accept')),
    scope.text(refuse, 'consent.refuse'));
}
