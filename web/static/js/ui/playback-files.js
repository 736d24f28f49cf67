// @ts-check
// Files to keep: the originals, and what the server makes of them on request.
import { ApiError } from '../client/administration.js';
import { Exports } from '../client/exports.js';
import { h, icon } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { clock } from './admin-format.js';
import { button } from './parts.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording.js').RecordingAccess} RecordingAccess */
/** @typedef {import('../client/recording-model.js').Recording} Recording */
/** @typedef {import('../client/exports.js').ExportJob} ExportJob */

const POLL = 2000; // ms, while something is being made

/** @param {Scope} scope @param {RecordingAccess} access @param {Recording} recording */
export function filesPanel(scope, access, recording) {
  const originals = h('div', { class: 'scroll' });
  scope.effect(() => {
    lang.value;
    originals.replaceChildren(originalsTable(access, recording));
  });
  return h('section', { class: 'play-files', 'data-testid': 'play-files' }, scope.text(h('h2'), 'playback.files'),
    exportsPanel(scope, access, recording),
    h('details', { class: 'play-details' }, scope.text(h('summary'), 'playback.originals'),
      scope.text(h('p', { class: 'hint' }), 'playback.originals.text'), originals));
}

/** @param {RecordingAccess} access @param {Recording} recording */
function originalsTable(access, recording) {
  const names = new Map(recording.lanes.map((l) => [l.identity, l.name]));
  const head = ['who', 'what', 'from', 'length', 'size'].map((c) => h('th', { scope: 'col' }, t(`playback.file.${c}`)));
  const rows = recording.parts.map((p) => h('tr', {},
    h('td', {}, names.get(p.participant) ?? p.participant), h('td', {}, t(`playback.source.${p.source}`)),
    h('td', {}, clock(p.start)), h('td', {}, clock(p.end - p.start)),
    h('td', {}, download(access, p.file, p.bytes))));
  return h('table', { class: 'list' }, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...rows));
}

/** @param {RecordingAccess} access @param {string} file @param {number} [bytes] */
function download(access, file, bytes) {
  return h('a', { class: 'file-link', href: `${access.file(file)}?download=1`, download: file, 'data-testid': 'download-file' },
    icon('download'), h('span', {}, bytes ? size(bytes) : file), h('span', { class: 'visually-hidden' }, ` ${file}`));
}

/** @param {number} bytes */
function size(bytes) {
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, 'kilobyte'] : [bytes / 1e6, 'megabyte'];
  return new Intl.NumberFormat(lang.peek(), { style: 'unit', unit, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}

/**
 * One file a participant, or one for all. Hidden where the server makes none.
 * @param {Scope} scope @param {RecordingAccess} access @param {Recording} recording
 */
function exportsPanel(scope, access, recording) {
  const exports = new Exports(access);
  const fault = signal('');
  const load = () => exports.load();
  load();
  scope.every(() => {
    if (exports.busy) load();
  }, POLL);
  const make = (/** @type {'merged' | 'composed'} */ kind, /** @type {'webm' | 'mp4'} */ format, /** @type {string} */ who) => async () => {
    fault.value = '';
    await exports.make(kind, format, who).catch((e) => {
      fault.value = e instanceof ApiError && e.status === 503 ? 'playback.export.unavailable' : 'playback.export.refused';
    });
  };
  const said = scope.text(h('p', { class: 'notice', role: 'alert' }), () => (fault.value ? t(fault.value) : ''));
  const list = h('ul', { class: 'export-list', 'data-testid': 'exports', 'aria-live': 'polite' });
  const panel = h('div', { class: 'play-exports' },
    scope.text(h('p', { class: 'hint' }), 'playback.export.text'),
    h('div', { class: 'export-actions' },
      button(scope, { testid: 'export-mp4', words: 'playback.export.mp4', icon: 'download', act: make('composed', 'mp4', '') }),
      button(scope, { testid: 'export-webm', words: 'playback.export.webm', icon: 'download', act: make('composed', 'webm', '') }),
      ...recording.lanes.filter((l) => l.parts.cam.length && l.parts.mic.length).map((l) => button(scope, {
        testid: 'export-merged', words: () => t('playback.export.merged', { name: l.name }), icon: 'download', act: make('merged', 'webm', l.identity),
      }))), said, list);
  scope.effect(() => {
    said.hidden = !fault.value;
    panel.hidden = exports.jobs.value === null || recording.live;
  });
  scope.effect(() => {
    lang.value;
    list.replaceChildren(...(exports.jobs.value ?? []).map((job) => exportRow(access, recording, job)));
  });
  return panel;
}

/** @param {RecordingAccess} access @param {Recording} recording @param {ExportJob} job */
function exportRow(access, recording, job) {
  const name = recording.lanes.find((l) => l.identity === job.participant)?.name ?? '';
  const what = job.kind === 'merged' ? t('playback.export.merged', { name }) : t(`playback.export.${job.format}`);
  const state = h('span', { class: 'export-state' });
  if (job.state === 'done') state.append(...job.files.map((f) => download(access, f.name, f.bytes)));
  else if (job.state === 'failed') state.append(t('playback.export.failed'), job.reason ? ` ${job.reason}` : '');
  else {
    const words = t(`playback.export.${job.state}`);
    const bar = h('progress', { max: '1', 'aria-label': `${what}: ${words}` });
    if (job.state === 'running') bar.value = job.progress ?? 0;
    state.append(bar, job.state === 'running' ? `${Math.round((job.progress ?? 0) * 100)} %` : words);
  }
  return h('li', { 'data-state': job.state }, h('span', {}, what), state);
}
