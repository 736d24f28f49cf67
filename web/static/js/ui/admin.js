// @ts-check
// Administration: sign in, the list of calls, and one call.
import { Administration, ApiError } from '../client/administration.js';
import { h } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { signal } from '../lib/signal.js';
import { callView } from './admin-call.js';
import { brand, button, languageSelect } from './parts.js';

/** @typedef {import('../client/administration.js').CallView} CallView */
/** @typedef {import('../client/administration.js').Journal} Journal */
/** @typedef {import('./plain.js').Screen} Screen */

/**
 * @param {string} origin of the server
 * @returns {Screen}
 */
export function adminScreen(origin) {
  const scope = new Scope();
  const api = signal(/** @type {Administration | null} */ (null));
  const out = button(scope, {
    testid: 'sign-out', words: 'admin.sign_out', act: () => {
      api.value = null;
    },
  });
  const content = h('div', { class: 'admin-content' });
  /** @type {Scope | null} */
  let shown = null;
  scope.effect(() => {
    shown?.stop();
    shown = new Scope();
    const current = api.value;
    out.hidden = !current;
    content.replaceChildren(current ? calls(shown, current) : signIn(shown, origin, (signed) => {
      api.value = signed;
    }));
  });
  const element = h('main', { class: 'admin', 'data-testid': 'page-admin' },
    h('header', { class: 'page-header' }, brand(), h('div', { class: 'header-end' }, languageSelect(scope), out)), content);
  return { element, stop: () => scope.stop() };
}

/** @param {Scope} scope @param {string} origin @param {(api: Administration) => void} onSigned */
function signIn(scope, origin, onSigned) {
  const secret = h('input', { type: 'password', id: 'admin-secret', 'data-testid': 'admin-secret', autocomplete: 'off', spellcheck: 'false', required: true });
  const fault = signal('');
  const said = scope.text(h('p', { class: 'notice', role: 'alert', 'data-testid': 'admin-fault' }), () => (fault.value ? t(fault.value) : ''));
  scope.effect(() => {
    said.hidden = !fault.value;
  });
  const form = h('form', { class: 'card' },
    scope.text(h('h1'), 'admin.title'),
    scope.text(h('p'), 'admin.sign_in.text'),
    h('div', { class: 'field' }, scope.text(h('label', { for: 'admin-secret' }), 'admin.sign_in.label'), secret),
    said,
    scope.text(h('button', { type: 'submit', class: 'button primary', 'data-testid': 'sign-in' }), 'admin.sign_in.button'));
  scope.listen(form, 'submit', async (/** @type {Event} */ e) => {
    e.preventDefault(); // what was typed never leaves by the form itself
    const api = new Administration(origin, secret.value);
    try {
      await api.calls();
      onSigned(api);
    } catch (error) {
      fault.value = faultWords(error);
    }
  });
  return form;
}

/** @param {unknown} error */
function faultWords(error) {
  return error instanceof ApiError && [401, 403].includes(error.status) ? 'admin.sign_in.refused' : 'admin.unreachable';
}

/** @param {Scope} scope @param {Administration} api */
function calls(scope, api) {
  const list = signal(/** @type {CallView[]} */ ([]));
  const next = signal('');
  const open = signal(/** @type {Journal | null} */ (null));
  const fault = signal('');
  const attempt = async (/** @type {() => Promise<void>} */ what) => {
    try {
      await what();
      fault.value = '';
    } catch (error) {
      fault.value = faultWords(error);
    }
  };
  const load = (/** @type {string} */ before) => attempt(async () => {
    const page = await api.calls(before);
    list.value = before ? [...list.peek(), ...page.calls] : page.calls;
    next.value = page.next;
  });
  const show = (/** @type {string} */ id) => attempt(async () => {
    open.value = await api.journal(id);
    scrollTo(0, 0);
  });
  load('');

  const said = scope.text(h('p', { class: 'notice', role: 'alert' }), () => (fault.value ? t(fault.value) : ''));
  const body = h('div');
  /** @type {Scope | null} */
  let shown = null;
  scope.effect(() => {
    said.hidden = !fault.value;
  });
  scope.effect(() => {
    shown?.stop();
    shown = new Scope();
    const journal = open.value;
    body.replaceChildren(journal ? callView(shown, journal, {
      onBack: () => {
        open.value = null;
      },
      onRefresh: () => show(journal.call.id),
    }) : callList(shown, { list, next, load, show }));
  });
  return h('div', {}, said, body);
}

/**
 * @param {Scope} scope
 * @param {object} options
 * @param {import('../lib/signal.js').Signal<CallView[]>} options.list
 * @param {import('../lib/signal.js').Signal<string>} options.next
 * @param {(before: string) => void} options.load
 * @param {(id: string) => void} options.show
 */
function callList(scope, { list, next, load, show }) {
  const rows = h('tbody');
  const none = scope.text(h('p', { class: 'hint' }), 'admin.no_calls');
  const more = button(scope, { testid: 'more-calls', words: 'admin.more', act: () => load(next.peek()) });
  scope.effect(() => {
    lang.value;
    rows.replaceChildren(...list.value.map((call) => row(call, show)));
    none.hidden = list.value.length > 0;
    more.hidden = !next.value;
  });
  const head = (/** @type {string} */ name) => scope.text(h('th', { scope: 'col' }), `admin.column.${name}`);
  return h('section', {},
    h('div', { class: 'admin-head' }, scope.text(h('h1'), 'admin.calls'),
      button(scope, { testid: 'refresh', words: 'admin.refresh', act: () => load('') })),
    h('div', { class: 'scroll', tabindex: '0' }, h('table', { class: 'list', 'data-testid': 'call-list' },
      h('thead', {}, h('tr', {}, ...['room', 'state', 'started', 'duration', 'people'].map(head))), rows)),
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
    h('td', {}, call.participants.map((p) => p.name || p.identity).join(', ')));
}

/** @param {string} time RFC 3339 */
export function dateTime(time) {
  return new Intl.DateTimeFormat(lang.peek(), { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(time));
}

/** Hours, minutes and seconds. @param {number} ms */
export function clock(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return (parts[0] ? parts : parts.slice(1)).map((n) => String(n).padStart(2, '0')).join(':');
}
