// @ts-check
// Administration: sign in, the list of calls, and one call.
import { Administration, ApiError } from '../client/administration.js';
import { h } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { signal } from '../lib/signal.js';
import { callView } from './admin-call.js';
import { callList, filterForm, searchForm } from './admin-list.js';
import { dateTime } from './admin-format.js';
import { failureItem } from './admin-failures.js';
import { brand, button, languageSelect } from './parts.js';
import { save } from './save.js';

/** @typedef {import('../client/administration.js').CallView} CallView */
/** @typedef {import('../client/administration.js').CallFilter} CallFilter */
/** @typedef {import('../client/administration.js').JournalEvent} JournalEvent */
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

/**
 * What is open: a call, at an incident of it; or an incident that happened in
 * no call.
 * @typedef {{journal: Journal, incident: string} | {orphans: JournalEvent[], incident: string}} Opened
 */

/** @param {Scope} scope @param {Administration} api */
function calls(scope, api) {
  const list = signal(/** @type {CallView[]} */ ([]));
  const next = signal('');
  const filter = signal(/** @type {CallFilter} */ ({}));
  const open = signal(/** @type {Opened | null} */ (null));
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
    const page = await api.calls(filter.peek(), before);
    list.value = before ? [...list.peek(), ...page.calls] : page.calls;
    next.value = page.next;
  });
  const show = (/** @type {string} */ id, incident = '') => attempt(async () => {
    open.value = { journal: await api.journal(id), incident };
    if (!incident) scrollTo(0, 0);
  });
  const find = (/** @type {string} */ typed) => attempt(async () => {
    const events = await api.incident(typed).catch((e) => {
      if (e instanceof ApiError && e.status === 400) throw new UserFault('admin.search.bad');
      throw e;
    });
    const [first] = events;
    if (!first) throw new UserFault('admin.search.none');
    const call = events.find((e) => e.call)?.call;
    if (call) await show(call, first.data.incident);
    else open.value = { orphans: events, incident: first.data.incident };
  });
  const watch = (/** @type {string} */ id) => {
    // The window comes at once, while the click still allows one.
    const page = window.open('', '_blank');
    return attempt(async () => {
      try {
        (page ?? window).location.assign(await api.recording(id));
      } catch (e) {
        page?.close();
        if (e instanceof ApiError && (e.status === 404 || e.status === 410)) throw new UserFault(`admin.recording.${e.status === 404 ? 'missing' : 'erased'}`);
        throw e;
      }
    });
  };
  load('');

  const said = scope.text(h('p', { class: 'notice', role: 'alert', 'data-testid': 'admin-notice' }), () => (fault.value ? t(fault.value) : ''));
  scope.effect(() => {
    said.hidden = !fault.value;
  });
  const body = h('div');
  /** @type {Scope | null} */
  let shown = null;
  const back = () => {
    open.value = null;
  };
  scope.effect(() => {
    shown?.stop();
    shown = new Scope();
    const opened = open.value;
    if (!opened) body.replaceChildren(overview(shown, { list, next, filter, load, show }));
    else if ('orphans' in opened) body.replaceChildren(orphan(shown, opened.orphans, back));
    else {
      const { journal, incident } = opened;
      body.replaceChildren(callView(shown, journal, {
        incident, onBack: back, onRefresh: () => show(journal.call.id, incident), onRecording: () => watch(journal.call.id),
        onDump: (who) => attempt(async () => save(await api.dump(journal.call.id, who), `${journal.call.id}-${who}.rtcstats`)),
      }));
      body.querySelector('.sought')?.scrollIntoView({ block: 'center' });
    }
  });
  return h('div', { class: 'admin-body' }, searchForm(scope, decodeURIComponent(location.hash.slice(1)), find), said, body);
}

/** What is said to the person as it is. */
class UserFault extends Error {}

/** @param {unknown} error */
function faultWords(error) {
  if (error instanceof UserFault) return error.message;
  return error instanceof ApiError && [401, 403].includes(error.status) ? 'admin.sign_in.refused' : 'admin.unreachable';
}

/**
 * @param {Scope} scope
 * @param {object} options
 * @param {import('../lib/signal.js').Signal<CallView[]>} options.list
 * @param {import('../lib/signal.js').Signal<string>} options.next
 * @param {import('../lib/signal.js').Signal<CallFilter>} options.filter
 * @param {(before: string) => void} options.load
 * @param {(id: string) => void} options.show
 */
function overview(scope, { list, next, filter, load, show }) {
  return h('section', {},
    h('div', { class: 'admin-head' }, scope.text(h('h1'), 'admin.calls'),
      button(scope, { testid: 'refresh', words: 'admin.refresh', act: () => load('') })),
    filterForm(scope, filter, () => load('')), callList(scope, { list, next, load, show }));
}

/** A failure of somebody who never got into a call. @param {Scope} scope @param {JournalEvent[]} events @param {() => void} onBack */
function orphan(scope, events, onBack) {
  const items = h('ul', { class: 'failure-list', 'data-testid': 'call-failures' });
  scope.effect(() => {
    lang.value;
    items.replaceChildren(failureItem(events.find((e) => e.side !== 'client' && e.type !== 'note.client') ?? events[0], {
      who: events[0].participant ?? '', when: dateTime(events[0].time), sought: true,
    }));
  });
  return h('section', { 'data-testid': 'incident-view' },
    h('div', { class: 'admin-head' }, scope.text(h('h1'), 'admin.no_call'),
      button(scope, { testid: 'back', words: 'admin.back', act: onBack })), items);
}
