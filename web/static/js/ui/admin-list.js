// @ts-check
// The list of calls: what is looked for, and what was found.
import { CODES } from '../client/codes.js';
import { h } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { clock, dateTime } from './admin-format.js';
import { button } from './parts.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/administration.js').CallView} CallView */
/** @typedef {import('../client/administration.js').CallFilter} CallFilter */

const STATES = ['', 'live', 'ended'];

/**
 * The field for an incident number.
 * @param {Scope} scope @param {string} given @param {(number: string) => void} onFind
 */
export function searchForm(scope, given, onFind) {
  const field = h('input', {
    type: 'search', id: 'incident', 'data-testid': 'incident-search', autocomplete: 'off', autocapitalize: 'characters',
    spellcheck: 'false', maxlength: 64, required: true, placeholder: 'K7M4-QX', value: given,
  });
  const form = h('form', { class: 'search', role: 'search' },
    h('div', { class: 'field' }, scope.text(h('label', { for: 'incident' }), 'admin.search.label'), field),
    scope.text(h('button', { type: 'submit', class: 'button', 'data-testid': 'incident-find' }), 'admin.search.button'));
  scope.listen(form, 'submit', (/** @type {Event} */ e) => {
    e.preventDefault();
    onFind(field.value);
  });
  if (given) onFind(given);
  return form;
}

/**
 * @param {Scope} scope
 * @param {import('../lib/signal.js').Signal<CallFilter>} filter
 * @param {() => void} onChange
 */
export function filterForm(scope, filter, onChange) {
  const set = (/** @type {string} */ name, /** @type {string} */ value) => {
    filter.value = { ...filter.peek(), [name]: value };
    onChange();
  };
  const choice = (/** @type {'state' | 'code'} */ name, /** @type {string[]} */ values, /** @type {(value: string) => string} */ words) => {
    const select = h('select', { id: `filter-${name}`, 'data-testid': `filter-${name}` });
    scope.effect(() => {
      lang.value;
      select.replaceChildren(...values.map((value) => h('option', { value }, words(value))));
      select.value = filter.peek()[name] ?? '';
    });
    scope.listen(select, 'change', () => set(name, select.value));
    return labelled(scope, name, select);
  };
  const moment = (/** @type {'from' | 'to'} */ name) => {
    const input = h('input', { type: 'datetime-local', id: `filter-${name}`, 'data-testid': `filter-${name}`, value: localTime(filter.peek()[name]) });
    scope.listen(input, 'change', () => set(name, input.value ? new Date(input.value).toISOString() : ''));
    return labelled(scope, name, input);
  };
  return h('div', { class: 'filters', role: 'group' },
    moment('from'), moment('to'),
    choice('state', STATES, (value) => t(value ? `admin.state.${value}` : 'admin.filter.any')),
    choice('code', ['', ...CODES], (value) => value || t('admin.filter.any')));
}

/** @param {Scope} scope @param {string} name @param {HTMLElement} control */
function labelled(scope, name, control) {
  return h('div', { class: 'field' }, scope.text(h('label', { for: `filter-${name}` }), `admin.filter.${name}`), control);
}

/** As <input type="datetime-local"> has it. @param {string | undefined} time RFC 3339 */
function localTime(time) {
  if (!time) return '';
  const at = new Date(time);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/**
 * @param {Scope} scope
 * @param {object} options
 * @param {import('../lib/signal.js').Signal<CallView[]>} options.list
 * @param {import('../lib/signal.js').Signal<string>} options.next
 * @param {(before: string) => void} options.load
 * @param {(id: string) => void} options.show
 */
export function callList(scope, { list, next, load, show }) {
  const rows = h('tbody');
  const none = scope.text(h('p', { class: 'hint', 'data-testid': 'no-calls' }), 'admin.no_calls');
  const more = button(scope, { testid: 'more-calls', words: 'admin.more', act: () => load(next.peek()) });
  scope.effect(() => {
    lang.value;
    rows.replaceChildren(...list.value.map((call) => row(call, show)));
    none.hidden = list.value.length > 0;
    more.hidden = !next.value;
  });
  const head = (/** @type {string} */ name) => scope.text(h('th', { scope: 'col' }), `admin.column.${name}`);
  return h('div', { class: 'found' },
    h('div', { class: 'scroll', tabindex: '0' }, h('table', { class: 'list calls', 'data-testid': 'call-list' },
      h('thead', {}, h('tr', {}, ...['room', 'state', 'started', 'duration', 'people', 'failed'].map(head))), rows)),
    none, more);
}

/** @param {CallView} call @param {(id: string) => void} show */
function row(call, show) {
  const length = Date.parse(call.ended || new Date().toISOString()) - Date.parse(call.started);
  const open = h('button', { type: 'button', class: 'link', 'data-testid': 'open-call', onclick: () => show(call.id) }, call.room);
  return h('tr', { 'data-call': call.id, 'data-state': call.state },
    h('th', { scope: 'row' }, open, call.external_id ? h('small', { class: 'hint' }, call.external_id) : null),
    h('td', {}, h('span', { class: `state ${call.state}` }, t(`admin.state.${call.state}`))),
    h('td', {}, dateTime(call.started)),
    h('td', {}, clock(length)),
    h('td', {}, call.participants.map((p) => p.name || p.identity).join(', ')),
    h('td', { class: 'codes' }, call.codes.join(' ')));
}
