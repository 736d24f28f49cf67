// @ts-check
// The entries of one participant in two columns, his side and the server's, in
// the order in which they happened.
import { isFigure } from '../client/timeline.js';
import { h } from '../lib/element.js';
import { t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { details, offset } from './admin-format.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/timeline.js').Entry} Entry */
/** @typedef {import('../client/timeline.js').Lane} Lane */

const MOST = 2000; // entries on the page; the file has them all

// Outlives the list, which is made anew for each participant and language.
const notes = signal(false);

/** @param {Scope} scope @param {Lane} lane @param {string} incident  number that is looked for, or "" */
export function entryList(scope, lane, incident) {
  const box = h('input', { type: 'checkbox', id: 'notes', 'data-testid': 'with-notes' });
  box.checked = notes.peek();
  const list = h('ol', { class: 'entries', 'data-testid': 'timeline' });
  const fill = () => {
    const sought = (/** @type {Entry} */ e) => incident !== '' && e.event.data.incident === incident;
    const wanted = lane.entries.filter((e) => !isFigure(e) && (notes.peek() || e.kind !== 'note'));
    list.replaceChildren(...wanted.slice(0, MOST).map((e) => row(e, sought(e))));
    if (wanted.length > MOST) list.append(h('li', { class: 'hint' }, t('admin.too_many', { count: wanted.length - MOST })));
  };
  box.addEventListener('change', () => {
    notes.value = box.checked;
    fill();
  });
  fill();
  return h('div', {},
    h('div', { class: 'columns-head' },
      h('span', {}, t('admin.side.client')), h('span', { class: 'check' }, box, h('label', { for: 'notes' }, t('admin.notes'))),
      h('span', {}, t('admin.side.server'))), list);
}

/** @param {Entry} entry @param {boolean} sought */
function row(entry, sought) {
  const { event, side, kind, what, at } = entry;
  const more = [details(event.data), event.evidence ? details(event.evidence) : ''].filter(Boolean).join(' · ');
  const number = event.data.incident ? h('span', { class: 'incident' }, ' ', h('strong', {}, event.data.incident)) : null;
  const said = more
    ? h('details', { open: sought }, h('summary', {}, what, number), h('p', { class: 'hint' }, more))
    : h('p', {}, what, number);
  return h('li', { class: `entry${sought ? ' sought' : ''}`, 'data-side': side, 'data-kind': kind, 'data-type': event.type },
    h('span', { class: 'at' }, h('span', { class: 'visually-hidden' }, `${t(`admin.side.${side}`)} `), offset(at)),
    h('div', { class: 'said' }, said));
}
