// @ts-check
// What went wrong, in words for the person who reads them, and what to do.
import { incidentOf } from '../client/incidents.js';
import { h, icon } from '../lib/element.js';
import { hasWords, t } from '../lib/i18n.js';

/** @typedef {import('../client/failures.js').Failure} Failure */

/** @param {string | undefined} role */
function audience(role) {
  if (role === 'admin') return 'admin';
  return role === undefined || ['patient', 'companion'].includes(role) ? 'patient' : 'doctor';
}

/**
 * Words of a code. About oneself everybody reads the words for the person whose
 * device it is, unless there are others for staff; about others, those for the
 * doctor.
 * @param {string} code @param {boolean} own @param {string} [role] of who reads
 */
export function failureWords(code, own, role) {
  const known = hasWords(`code.${code}.patient`) ? code : 'UNKNOWN';
  const staff = `code.${known}.staff`;
  if (own && audience(role) !== 'patient' && hasWords(staff)) return t(staff);
  return t(`code.${known}.${own ? 'patient' : 'doctor'}`);
}

/**
 * @param {object} options
 * @param {string} options.code
 * @param {boolean} [options.own]
 * @param {string} [options.about] name of whom it is about
 * @param {string} [options.role] of who reads
 * @param {string} [options.incident]  number; of one's own failure the one the server told, unless given
 * @param {string} [options.stage]
 * @param {{words: string, act: () => void, testid?: string}[]} [options.actions]
 */
export function failurePanel({ code, own = true, about = '', role, incident = '', stage = '', actions = [] }) {
  const words = failureWords(code, own, role);
  const number = incident || (own ? incidentOf(code) : '');
  const panel = h('section', { class: 'failure', role: 'alert', 'data-testid': 'failure', 'data-code': code },
    icon('warning'),
    h('div', { class: 'failure-text' },
      about ? h('strong', {}, about) : null,
      h('p', {}, words),
      number ? h('p', { class: 'incident' }, t('failure.incident'), ' ', h('strong', { 'data-testid': 'incident' }, number)) : null,
      technical(code, audience(role), number, stage),
      actions.length ? h('div', { class: 'failure-actions' }, ...actions.map(({ words: w, act, testid }) => h('button', {
        type: 'button', class: 'button small', onclick: act, 'data-testid': testid ?? 'failure-action',
      }, w))) : null));
  return panel;
}

/** The code, where there is no number, and for staff. @param {string} code @param {string} who @param {string} incident @param {string} stage */
function technical(code, who, incident, stage) {
  const words = t('failure.code', { code });
  if (who === 'patient') return incident ? null : h('p', { class: 'failure-code' }, words);
  const known = hasWords(`code.${code}.admin`) ? code : 'UNKNOWN';
  return h('details', { class: 'failure-code' }, h('summary', {}, words),
    h('p', {}, t(`code.${known}.admin`), stage ? ` (${stage})` : ''));
}
