// @ts-check
// One call: what failed, and both sides of what happened on one axis of time.
import { failures, isFigure, timeline } from '../client/timeline.js';
import { h, icon } from '../lib/element.js';
import { hasWords, lang, t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { clock, dateTime } from './admin.js';
import { button } from './parts.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/administration.js').Journal} Journal */
/** @typedef {import('../client/timeline.js').Entry} Entry */
/** @typedef {import('../client/timeline.js').Timeline} Timeline */

const RANGES = ['all', '30', '120'];
const TICKS = 6;

/**
 * @param {Scope} scope @param {Journal} journal
 * @param {{onBack: () => void, onRefresh: () => void}} on
 */
export function callView(scope, journal, on) {
  const { call } = journal;
  const line = timeline(journal);
  const names = new Map(call.participants.map((p) => [p.identity, p.name || p.identity]));
  const name = (/** @type {string | undefined} */ identity) => (identity ? names.get(identity) ?? identity : t('admin.lane.call'));
  return h('section', { 'data-testid': 'call-view', 'data-call': call.id },
    h('div', { class: 'admin-head' },
      h('div', {}, h('h1', {}, call.room), about(scope, journal)),
      h('div', { class: 'header-end' },
        button(scope, { testid: 'back', words: 'admin.back', act: on.onBack }),
        button(scope, { testid: 'refresh', words: 'admin.refresh', act: on.onRefresh }),
        button(scope, { testid: 'download', kind: 'primary', words: 'admin.download', act: () => download(journal) }))),
    failureList(scope, line, name), lanes(scope, line, name), table(scope, line, name));
}

/** @param {Scope} scope @param {Journal} journal */
function about(scope, { call }) {
  return scope.text(h('p', { class: 'hint' }), () => [
    t(`admin.state.${call.state}`), dateTime(call.started),
    call.ended ? clock(Date.parse(call.ended) - Date.parse(call.started)) : '',
    t('admin.call_id', { id: call.id }), call.external_id ? t('admin.external_id', { id: call.external_id }) : '',
  ].filter(Boolean).join(' · '));
}

/** @param {Scope} scope @param {Timeline} line @param {(identity?: string) => string} name */
function failureList(scope, line, name) {
  const list = h('ul', { class: 'failure-list', 'data-testid': 'call-failures' });
  scope.effect(() => {
    lang.value;
    const found = failures(line);
    list.replaceChildren(...(found.length ? found.map((f) => failure(f, name)) : [h('li', { class: 'hint' }, t('admin.no_failures'))]));
  });
  return h('section', {}, scope.text(h('h2'), 'admin.failures'), list);
}

/** @param {Entry} entry @param {(identity?: string) => string} name */
function failure({ event, at }, name) {
  const code = event.code ?? '';
  const known = hasWords(`code.${code}.admin`) ? code : 'UNKNOWN';
  const place = [event.stage, event.direction ? t(`admin.direction.${event.direction}`) : ''].filter(Boolean).join(', ');
  return h('li', { class: 'failure', 'data-code': code }, icon('warning'), h('div', { class: 'failure-text' },
    h('strong', {}, `${code} · ${name(event.participant)} · ${offset(at)}`),
    h('p', {}, t(`code.${known}.admin`)),
    h('p', { class: 'hint' }, [place, t('admin.incident', { id: event.data.incident ?? event.id })].filter(Boolean).join(' · ')),
    event.evidence ? h('p', { class: 'hint' }, details(event.evidence)) : null));
}

/** @param {Scope} scope @param {Timeline} line @param {(identity?: string) => string} name */
function lanes(scope, line, name) {
  const range = signal('all');
  const select = h('select', { id: 'range', 'data-testid': 'range' });
  scope.effect(() => {
    lang.value;
    select.replaceChildren(...RANGES.map((value) => h('option', { value }, t(`admin.range.${value}`))));
    select.value = range.peek();
  });
  scope.listen(select, 'change', () => {
    range.value = select.value;
  });
  const chosen = h('p', { class: 'chosen hint', role: 'status', 'data-testid': 'chosen' });
  const box = h('div', { class: 'lanes', 'data-testid': 'timeline' });
  scope.effect(() => {
    lang.value;
    const length = range.value === 'all' ? line.length : Number(range.value) * 1000;
    const pick = (/** @type {Entry} */ e) => {
      chosen.textContent = [t('admin.mark', { time: offset(e.at), who: name(e.event.participant), what: e.what }), details(e.event.data)].join(' · ');
    };
    box.replaceChildren(axis(length), ...line.lanes.flatMap((lane) => {
      /** @type {('device' | 'server')[]} */
      const sides = lane.participant ? ['device', 'server'] : ['server'];
      return [
        h('div', { class: 'lane-name' }, name(lane.participant)),
        ...sides.map((side) => h('div', { class: 'lane', 'data-participant': lane.participant, 'data-side': side },
          h('span', { class: 'lane-side' }, t(`admin.side.${side}`)),
          h('div', { class: 'marks' }, ...lane[side].filter((e) => e.at <= length && !isFigure(e)).map((e) => mark(e, length, name, pick))))),
      ];
    }));
  });
  return h('section', {}, h('div', { class: 'admin-head' }, scope.text(h('h2'), 'admin.timeline'),
    h('div', { class: 'field inline' }, scope.text(h('label', { for: 'range' }), 'admin.range'), select)), box, chosen);
}

/** @param {number} length ms */
function axis(length) {
  const marks = h('div', { class: 'marks' });
  for (let i = 0; i <= TICKS; i++) {
    const tick = h('span', { class: 'tick' }, `${((length / TICKS) * i / 1000).toFixed(length < 60_000 ? 1 : 0)} s`);
    tick.style.setProperty('--at', String(i / TICKS));
    marks.append(tick);
  }
  return h('div', { class: 'lane axis', 'aria-hidden': 'true' }, h('span', { class: 'lane-side' }), marks);
}

/**
 * @param {Entry} entry @param {number} length @param {(identity?: string) => string} name
 * @param {(entry: Entry) => void} pick
 */
function mark(entry, length, name, pick) {
  const words = t('admin.mark', { time: offset(entry.at), who: name(entry.event.participant), what: entry.what });
  const element = h('button', {
    type: 'button', class: 'mark', 'data-kind': entry.kind, 'data-type': entry.event.type, 'aria-label': words, title: words,
    // All of them are in the table below: who uses keys need not pass each.
    tabindex: entry.kind === 'failed' ? '0' : '-1', onclick: () => pick(entry),
  });
  element.style.setProperty('--at', String(Math.min(1, Math.max(0, entry.at / length))));
  return element;
}

/** @param {Scope} scope @param {Timeline} line @param {(identity?: string) => string} name */
function table(scope, line, name) {
  const notes = signal(false);
  const box = h('input', { type: 'checkbox', id: 'notes', 'data-testid': 'with-notes' });
  scope.listen(box, 'change', () => {
    notes.value = box.checked;
  });
  const rows = h('tbody');
  scope.effect(() => {
    lang.value;
    const shown = line.entries.filter((e) => notes.value || e.kind === 'failed' || (e.kind !== 'note' && e.side === 'server'));
    rows.replaceChildren(...shown.map((e) => h('tr', { 'data-kind': e.kind },
      h('td', {}, offset(e.at)), h('td', {}, name(e.event.participant)), h('td', {}, t(`admin.side.${e.side}`)),
      h('td', {}, e.what), h('td', { class: 'hint' }, details(e.event.data)))));
  });
  const head = (/** @type {string} */ key) => scope.text(h('th', { scope: 'col' }), `admin.column.${key}`);
  return h('section', {},
    h('div', { class: 'admin-head' }, scope.text(h('h2'), 'admin.events'),
      h('div', { class: 'check' }, box, scope.text(h('label', { for: 'notes' }), 'admin.notes'))),
    h('div', { class: 'scroll', tabindex: '0' }, h('table', { class: 'list', 'data-testid': 'event-list' },
      h('thead', {}, h('tr', {}, ...['time', 'who', 'side', 'what', 'details'].map(head))), rows)));
}

/** Since the start of the axis. @param {number} ms */
function offset(ms) {
  return `${ms < 0 ? '−' : '+'}${(Math.abs(ms) / 1000).toFixed(2)} s`;
}

/** @param {Record<string, any>} data */
function details(data) {
  return Object.entries(data).filter(([key]) => !['text', 'client_time'].includes(key))
    .map(([key, value]) => `${key}: ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(', ');
}

/** @param {Journal} journal */
function download(journal) {
  const url = URL.createObjectURL(new Blob([JSON.stringify(journal, null, 2)], { type: 'application/json' }));
  h('a', { href: url, download: `call-${journal.call.id}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
