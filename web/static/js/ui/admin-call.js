// @ts-check
// One call: what failed, and of each participant both sides on one clock.
import { failures, timeline } from '../client/timeline.js';
import { h } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { clock, dateTime, offset } from './admin-format.js';
import { failureItem } from './admin-failures.js';
import { stageBars, summary } from './admin-stages.js';
import { entryList } from './admin-timeline.js';
import { button } from './parts.js';
import { save } from './save.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/administration.js').Journal} Journal */
/** @typedef {import('../client/timeline.js').Timeline} Timeline */
/** @typedef {import('../client/timeline.js').Lane} Lane */

/**
 * @param {Scope} scope @param {Journal} journal
 * @param {{incident: string, onBack: () => void, onRefresh: () => void, onRecording: () => void, onDump: (participant: string) => void}} options
 *   incident: number of the failure that is looked for, or ""
 */
export function callView(scope, journal, { incident, onBack, onRefresh, onRecording, onDump }) {
  const { call } = journal;
  const line = timeline(journal);
  const names = new Map(call.participants.map((p) => [p.identity, p.name || p.identity]));
  const name = (/** @type {string | undefined} */ identity) => (identity ? names.get(identity) ?? identity : t('admin.lane.call'));
  const file = new Blob([JSON.stringify(journal, null, 2)], { type: 'application/json' });
  return h('section', { 'data-testid': 'call-view', 'data-call': call.id },
    h('div', { class: 'admin-head' },
      h('div', {}, h('h1', {}, call.room), about(scope, journal)),
      h('div', { class: 'header-end' },
        button(scope, { testid: 'back', words: 'admin.back', act: onBack }),
        button(scope, { testid: 'refresh', words: 'admin.refresh', act: onRefresh }),
        button(scope, { testid: 'recording', words: 'admin.recording', act: onRecording }),
        button(scope, { testid: 'download', words: 'admin.download', act: () => save(file, `call-${call.id}.json`) }))),
    failureList(scope, line, name, incident), lanes(scope, line, name, incident, onDump));
}

/** @param {Scope} scope @param {Journal} journal */
function about(scope, { call }) {
  return scope.text(h('p', { class: 'hint' }), () => [
    t(`admin.state.${call.state}`), dateTime(call.started),
    call.ended ? clock(Date.parse(call.ended) - Date.parse(call.started)) : '',
    t('admin.call_id', { id: call.id }), call.external_id ? t('admin.external_id', { id: call.external_id }) : '',
  ].filter(Boolean).join(' · '));
}

/** @param {Scope} scope @param {Timeline} line @param {(identity?: string) => string} name @param {string} incident */
function failureList(scope, line, name, incident) {
  const list = h('ul', { class: 'failure-list', 'data-testid': 'call-failures' });
  scope.effect(() => {
    lang.value;
    const found = failures(line).map(({ event, at }) => failureItem(event, {
      who: name(event.participant), when: offset(at), sought: incident !== '' && event.data.incident === incident,
    }));
    list.replaceChildren(...(found.length ? found : [h('li', { class: 'hint' }, t('admin.no_failures'))]));
  });
  return h('section', {}, scope.text(h('h2'), 'admin.failures'), list);
}

/**
 * One participant at a time: a row of tabs, and what belongs to the chosen one.
 * @param {Scope} scope @param {Timeline} line @param {(identity?: string) => string} name @param {string} incident
 * @param {(participant: string) => void} onDump
 */
function lanes(scope, line, name, incident, onDump) {
  const failed = line.entries.find((e) => (incident ? e.event.data.incident === incident : e.kind === 'failed' && e.event.participant));
  const chosen = signal(failed?.event.participant ?? line.lanes[1]?.identity ?? '');
  const panel = h('div', { class: 'lane', role: 'tabpanel', id: 'lane', tabindex: '0' });
  const tabs = line.lanes.map((lane) => tab(scope, lane, chosen, name));
  const bar = h('div', { class: 'tabs', role: 'tablist', 'data-testid': 'lanes' }, ...tabs);
  scope.listen(bar, 'keydown', (/** @type {KeyboardEvent} */ e) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (!step) return;
    const next = tabs[(tabs.findIndex((tab) => tab === document.activeElement) + step + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
  scope.effect(() => {
    lang.value;
    const lane = line.lanes.find((l) => l.identity === chosen.value) ?? line.lanes[0];
    panel.dataset.participant = lane.identity;
    const dump = lane.summary ? h('button', {
      type: 'button', class: 'button small', 'data-testid': 'download-dump', onclick: () => onDump(lane.identity),
    }, t('admin.dump')) : null;
    panel.replaceChildren(
      ...(lane.summary ? [stageBars(lane.summary, line.start), summary(lane.summary, dump)] : []),
      entryList(scope, lane, incident));
  });
  return h('section', {}, scope.text(h('h2'), 'admin.timeline'), bar, panel);
}

/** @param {Scope} scope @param {Lane} lane @param {import('../lib/signal.js').Signal<string>} chosen @param {(identity?: string) => string} name */
function tab(scope, lane, chosen, name) {
  const element = h('button', {
    type: 'button', class: 'tab', role: 'tab', 'aria-controls': 'lane', 'data-testid': 'lane-tab', 'data-participant': lane.identity,
    'data-failed': lane.entries.some((e) => e.kind === 'failed'), onclick: () => {
      chosen.value = lane.identity;
    },
  });
  scope.effect(() => {
    lang.value;
    const selected = chosen.value === lane.identity;
    element.textContent = name(lane.identity);
    element.setAttribute('aria-selected', String(selected));
    element.tabIndex = selected ? 0 : -1;
  });
  return element;
}
