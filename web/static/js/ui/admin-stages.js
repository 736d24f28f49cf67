// @ts-check
// How far a participant came, and how: bars of the stages as either side saw
// them, the path, the states, the candidates.
import { h } from '../lib/element.js';
import { t } from '../lib/i18n.js';
import { offset } from './admin-format.js';

/** @typedef {import('../client/administration.js').ParticipantSummary} ParticipantSummary */
/** @typedef {import('../client/administration.js').Stage} Stage */

const ORDER = ['page', 'socket', 'devices', 'offer', 'ice', 'dtls', 'first_rtp', 'first_frame', 'flowing'];
const SIDES = /** @type {const} */ (['client', 'server']);
const LONGEST = 60_000; // ms that the axis shows at most
const OPEN_END = 1.15; // of the axis, so that a stage that was not passed reaches beyond the others

/** @param {ParticipantSummary} of @param {number} start  of the call's axis */
export function stageBars({ stages }, start) {
  const shown = stages.filter((s) => s.name !== 'flowing' || s.code);
  const begins = shown.map((s) => Date.parse(s.began));
  const first = Math.min(...begins);
  const ends = shown.map((s, i) => begins[i] + (s.ms ?? 0));
  const length = Math.min(LONGEST, Math.max(1000, (Math.max(...ends, first) - first) * OPEN_END));
  const rows = ORDER.flatMap((name) => {
    const own = shown.filter((s) => s.name === name);
    return own.length ? [h('tr', { 'data-stage': name }, h('th', { scope: 'row' }, t(`admin.stage.${name}`)),
      ...SIDES.map((side) => h('td', { 'data-side': side }, words(own.find((s) => s.side === side)))),
      h('td', { class: 'bars', 'aria-hidden': 'true' }, ...own.map((s) => bar(s, Date.parse(s.began) - first, length))))] : [];
  });
  const head = [t('admin.column.stage'), t('admin.side.client'), t('admin.side.server')].map((w) => h('th', { scope: 'col' }, w));
  return h('div', { class: 'scroll', tabindex: '0' }, h('table', { class: 'list stages', 'data-testid': 'stages' },
    h('thead', {}, h('tr', {}, ...head, h('th', { scope: 'col', class: 'axis' },
      h('span', {}, offset(first - start)), h('span', {}, offset(first - start + length))))),
    h('tbody', {}, ...rows)));
}

/** @param {Stage | undefined} stage */
function words(stage) {
  if (!stage) return '';
  if (stage.ms !== null) return h('span', {}, duration(stage.ms));
  return h('span', { class: stage.code ? 'missed' : 'hint' }, stage.code || t('admin.stage.open'));
}

/** @param {number} ms */
function duration(ms) {
  return ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** @param {Stage} stage @param {number} at @param {number} length */
function bar(stage, at, length) {
  const element = h('span', { class: 'bar', 'data-side': stage.side, 'data-missed': stage.ms === null && Boolean(stage.code) });
  const from = Math.min(1, at / length);
  const part = stage.ms === null ? 1 - from : Math.min(1 - from, stage.ms / length);
  element.style.setProperty('--from', String(from));
  element.style.setProperty('--part', String(part));
  return element;
}

/** @param {ParticipantSummary} of @param {HTMLElement | null} download */
export function summary({ clocks, path, states, candidates }, download) {
  const rows = [[t('admin.summary.path'), pathWords(path)], [t('admin.summary.clock'), clocks.map(clockWords).join('; ') || t('admin.summary.none')]];
  for (const side of SIDES) {
    for (const what of /** @type {const} */ (['ice', 'dtls', 'signaling'])) {
      const list = states[side][what].map((s) => s.state);
      if (list.length) rows.push([t(`admin.summary.${what}`, { side: t(`admin.side.${side}`) }), list.slice(-12).join(' → ')]);
    }
  }
  return h('div', { class: 'summary' },
    h('dl', { 'data-testid': 'summary' }, ...rows.flatMap(([term, text]) => [h('dt', {}, term), h('dd', {}, text)])),
    candidateList(candidates), download);
}

/** @param {ParticipantSummary['path']} path */
function pathWords(path) {
  if (!path?.path) return t('admin.summary.no_path');
  const { local } = path.pair ?? {};
  const ends = local ? `${[local.type, local.relay_protocol ?? local.protocol, local.network].filter(Boolean).join(' ')}` : '';
  return [
    `${t(`admin.path.${path.path}`)}, ${path.protocol}`, t('admin.summary.after', { ms: Math.round(path.after_ms) }), ends,
    path.rescued ? t('admin.summary.rescued') : '',
  ].filter(Boolean).join(' · ');
}

/** @param {ParticipantSummary['clocks'][number]} clock */
function clockWords({ offset_ms: ms, accuracy_ms: accuracy }) {
  const known = { offset: Math.round(ms), accuracy: accuracy === null ? 0 : Math.max(1, Math.round(accuracy)) };
  return accuracy === null ? t('admin.summary.clock_rough', { offset: known.offset }) : t('admin.summary.clock_exact', known);
}

/** @param {ParticipantSummary['candidates']} candidates */
function candidateList(candidates) {
  return h('details', { 'data-testid': 'candidates' },
    h('summary', {}, t('admin.candidates', { count: candidates.length })),
    h('ul', {}, ...candidates.map((c) => h('li', {},
      h('strong', {}, [c.type, c.protocol, c.address, c.port].filter(Boolean).join(' ')), ' ', h('span', { class: 'hint' }, c.reason)))));
}
