// @ts-check
// Failures in words for the administrator.
import { h, icon } from '../lib/element.js';
import { hasWords, t } from '../lib/i18n.js';
import { details } from './admin-format.js';

/** @typedef {import('../client/administration.js').JournalEvent} JournalEvent */

/**
 * @param {JournalEvent} event
 * @param {{who: string, when: string, sought: boolean}} about  sought: this is what was looked for
 */
export function failureItem(event, { who, when, sought }) {
  const code = event.code ?? '';
  const known = hasWords(`code.${code}.admin`) ? code : 'UNKNOWN';
  const stage = event.stage && hasWords(`admin.stage.${event.stage}`) ? t(`admin.stage.${event.stage}`) : event.stage;
  const place = [stage, event.direction ? t(`admin.direction.${event.direction}`) : ''].filter(Boolean).join(', ');
  const number = event.data.incident;
  return h('li', { class: `failure${sought ? ' sought' : ''}`, 'data-code': code, 'data-incident': number }, icon('warning'),
    h('div', { class: 'failure-text' },
      h('strong', {}, [code, who, when].filter(Boolean).join(' · ')),
      h('p', {}, t(`code.${known}.admin`)),
      h('p', { class: 'hint' }, place, number ? h('span', { class: 'incident' }, place ? ' · ' : '', t('admin.incident'), ' ', h('strong', {}, number)) : null),
      event.evidence ? h('p', { class: 'hint' }, details(event.evidence)) : null));
}
