// @ts-check
// Files to keep: the originals, and whether they are as they were signed.
import { ApiError } from '../client/administration.js';
import { h, icon } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { clock } from './admin-format.js';
import { button } from './parts.js';
import { download } from './playback-download.js';
import { exportsPanel } from './playback-exports.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording.js').RecordingAccess} RecordingAccess */
/** @typedef {import('../client/recording.js').Verification} Verification */
/** @typedef {import('../client/recording-model.js').Recording} Recording */
/** @typedef {import('../client/recording-model.js').Part} Part */
/** @typedef {import('./playback-player.js').Player} Player */

/** @param {Scope} scope @param {RecordingAccess} access @param {Recording} recording @param {Player} player */
export function filesPanel(scope, access, recording, player) {
  const originals = h('div', { class: 'scroll', role: 'region', tabindex: '0' });
  scope.attribute(originals, 'aria-label', () => t('playback.originals'));
  scope.effect(() => {
    lang.value;
    originals.replaceChildren(originalsTable(access, recording, player.faults.value.has('sealed')));
  });
  return h('section', { class: 'play-files', 'data-testid': 'play-files' }, scope.text(h('h2'), 'playback.files'),
    exportsPanel(scope, access, recording),
    h('details', { class: 'play-details' }, scope.text(h('summary'), 'playback.originals'),
      scope.text(h('p', { class: 'hint' }), 'playback.originals.text'), originals),
    recording.manifest.signature ? verification(scope, access) : null);
}

/** @param {RecordingAccess} access @param {Recording} recording @param {boolean} keyless  the server can't open what is sealed */
function originalsTable(access, recording, keyless) {
  const names = new Map(recording.lanes.map((l) => [l.identity, l.name]));
  const order = new Map(recording.lanes.map((l, i) => [l.identity, i]));
  const place = (/** @type {Part} */ p) => order.get(p.participant) ?? order.size;
  const parts = [...recording.parts].sort((a, b) => place(a) - place(b) || a.start - b.start);
  const head = ['who', 'what', 'from', 'length', 'size'].map((c) => h('th', { scope: 'col' }, t(`playback.file.${c}`)));
  const rows = parts.map((p) => {
    const { file, bytes } = (keyless && p.sealed) || p;
    return h('tr', {},
      h('td', {}, names.get(p.participant) ?? p.participant), h('td', {}, t(`playback.source.${p.source}`)),
      h('td', {}, clock(p.start)), h('td', {}, clock(p.end - p.start)), h('td', {}, download(access, file, bytes)));
  });
  return h('table', { class: 'list' }, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows));
}

/** Whether anything has changed since it was signed. @param {Scope} scope @param {RecordingAccess} access */
function verification(scope, access) {
  const result = signal(/** @type {Verification | 'busy' | ApiError | null} */ (null));
  const check = button(scope, { testid: 'verify', words: 'playback.verify', icon: 'shield', act: async () => {
    result.value = 'busy';
    result.value = await access.verify().catch((e) => (e instanceof ApiError ? e : new ApiError(0)));
  } });
  const said = h('div', { class: 'verdict', 'data-testid': 'verify-result', role: 'status' });
  scope.effect(() => {
    lang.value;
    const found = result.value;
    check.disabled = found === 'busy';
    said.hidden = found === null;
    if (found !== null) said.replaceChildren(...verdict(said, found));
  });
  return h('div', { class: 'play-verify' }, scope.text(h('p', { class: 'hint' }), 'playback.verify.text'), check, said);
}

/** @param {HTMLElement} box @param {Verification | 'busy' | ApiError} found */
function verdict(box, found) {
  if (found === 'busy') {
    box.dataset.verdict = 'busy';
    return [h('p', {}, t('playback.verify.busy'))];
  }
  if (found instanceof ApiError) {
    box.dataset.verdict = 'limited';
    return [icon('warning'), h('p', {}, t(found.status === 503 ? 'playback.verify.later' : 'playback.verify.failed'))];
  }
  box.dataset.verdict = { intact: 'good', changed: 'failed', unfinished: 'limited' }[found.state];
  const words = h('p', { class: 'verdict-words' }, t(`playback.verify.${found.state}`, { count: found.files }));
  const away = found.away ? h('p', {}, t('playback.verify.away', { count: found.away })) : null;
  const list = found.findings.map((f) => h('li', { lang: 'en' }, f.file ? `${f.file}: ${f.problem}` : f.problem));
  return [icon(found.state === 'intact' ? 'shield' : 'warning'),
    h('div', { class: 'failure-text' }, words, away, list.length ? h('ul', { class: 'verify-findings' }, ...list) : null)];
}
