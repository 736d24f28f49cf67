// @ts-check
// The moments of the call in words; a click goes there.
import { h } from '../lib/element.js';
import { hasWords, lang, t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { clock } from './admin-format.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording-model.js').Recording} Recording */
/** @typedef {import('../client/recording-moments.js').Moment} Moment */
/** @typedef {import('./playback-player.js').Player} Player */

const KINDS = /** @type {const} */ (['people', 'failure', 'devices', 'speech']);
const MOST = 1000; // in the list at once; a filter finds the rest
const LEAD = 1500; // ms before the moment, so that it is heard to begin

/** @param {Moment} m @param {string} name */
export function momentWords(m, name) {
  const key = `code.${m.code}.doctor`;
  const source = m.source ? t(`playback.source.${m.source}`) : '';
  const words = t(`playback.event.${m.what}`, { name, source, time: clock(m.span), span: (m.span / 1000).toFixed(1) });
  return m.code && hasWords(key) ? `${words.replace(/\.?$/, '.')} ${t(key)}` : words;
}

/** @param {Scope} scope @param {Player} player @param {Recording} recording */
export function eventList(scope, player, recording) {
  const shown = signal(/** @type {ReadonlySet<string>} */ (new Set(['people', 'failure', 'devices'])));
  const who = signal('');
  const names = new Map(recording.lanes.map((l) => [l.identity, l.name]));
  const list = h('ol', { class: 'moments', 'data-testid': 'moments', tabindex: '0' });
  scope.attribute(list, 'aria-label', () => t('playback.moments'));
  /** @type {{moment: Moment, button: HTMLButtonElement}[]} */
  let rows = [];
  scope.effect(() => {
    lang.value;
    const wanted = recording.moments.filter((m) => shown.value.has(m.kind) && (!who.value || m.participant === who.value));
    rows = wanted.slice(0, MOST).map((m) => ({ moment: m, button: row(player, m, names.get(m.participant) ?? m.participant) }));
    list.replaceChildren(...rows.map(({ moment, button }) => h('li', { 'data-kind': moment.kind }, button)));
    if (rows.length === 0) list.append(h('li', { class: 'hint' }, t('playback.no_moments')));
    if (wanted.length > MOST) list.append(h('li', { class: 'hint' }, t('admin.too_many', { count: wanted.length - MOST })));
    mark(list, rows, player.beat.peek());
  });
  scope.effect(() => mark(list, rows, player.beat.value));
  return h('section', { class: 'play-moments' }, scope.text(h('h2'), 'playback.moments'), filters(scope, recording, shown, who), list);
}

/** @param {Player} player @param {Moment} m @param {string} name */
function row(player, m, name) {
  return h('button', { type: 'button', class: 'moment', 'data-testid': 'moment', 'data-what': m.what, onclick: () => player.seek(m.ms - LEAD) },
    h('span', { class: 'at' }, clock(m.ms)), h('span', { class: 'what' }, momentWords(m, name)));
}

/**
 * Marks the last moment that has come.
 * @param {HTMLElement} list @param {{moment: Moment, button: HTMLButtonElement}[]} rows @param {number} now
 */
function mark(list, rows, now) {
  const current = rows.findLast(({ moment }) => moment.ms <= now + LEAD)?.button;
  const before = list.querySelector('[aria-current]');
  if (current === before) return;
  before?.removeAttribute('aria-current');
  if (!current) return;
  current.setAttribute('aria-current', 'true');
  // Only the list scrolls, never the page under the reader.
  const [box, item] = [list.getBoundingClientRect(), current.getBoundingClientRect()];
  if (item.top < box.top || item.bottom > box.bottom) list.scrollTop += item.top - box.top - box.height / 3;
}

/**
 * @param {Scope} scope @param {Recording} recording
 * @param {import('../lib/signal.js').Signal<ReadonlySet<string>>} shown @param {import('../lib/signal.js').Signal<string>} who
 */
function filters(scope, recording, shown, who) {
  const chips = KINDS.map((kind) => {
    const count = recording.moments.filter((m) => m.kind === kind).length;
    const box = h('input', { type: 'checkbox', 'data-testid': `filter-${kind}` });
    box.checked = shown.peek().has(kind);
    scope.listen(box, 'change', () => {
      const next = new Set(shown.peek());
      if (box.checked) next.add(kind);
      else next.delete(kind);
      shown.value = next;
    });
    return h('label', { class: 'chip', 'data-kind': kind }, box, scope.text(h('span'), () => `${t(`playback.kind.${kind}`)} ${count}`));
  });
  const people = h('select', { 'data-testid': 'filter-who' });
  scope.attribute(people, 'aria-label', () => t('playback.whose'));
  scope.effect(() => {
    lang.value;
    people.replaceChildren(h('option', { value: '' }, t('playback.everybody')), ...recording.lanes.map((l) => h('option', { value: l.identity }, l.name)));
    people.value = who.peek();
  });
  scope.listen(people, 'change', () => {
    who.value = people.value;
  });
  return h('div', { class: 'moment-filters' }, ...chips, people);
}
