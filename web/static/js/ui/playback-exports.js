// @ts-check
// What the server makes of a recording on request: asking for it, how far it
// is, why it failed, and the files.
import { ApiError } from '../client/administration.js';
import { Exports, refusalWords } from '../client/exports.js';
import { h } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { dateTime } from './admin-format.js';
import { button } from './parts.js';
import { download } from './playback-download.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording.js').RecordingAccess} RecordingAccess */
/** @typedef {import('../client/recording-model.js').Recording} Recording */
/** @typedef {import('../client/exports.js').ExportJob} ExportJob */
/** @typedef {import('../client/exports.js').ExportRequest} ExportRequest */

const POLL = 2000; // ms, while something is being made

/**
 * One file a participant, or one for all. Hidden where the server makes none.
 * @param {Scope} scope @param {RecordingAccess} access @param {Recording} recording
 */
export function exportsPanel(scope, access, recording) {
  const exports = new Exports(access);
  const fault = signal(/** @type {ApiError | null} */ (null));
  exports.load();
  scope.every(() => {
    if (exports.busy) exports.load();
  }, POLL);
  const attempt = async (/** @type {() => Promise<void>} */ what) => {
    fault.value = null;
    await what().catch((e) => {
      fault.value = e instanceof ApiError ? e : new ApiError(0);
    });
  };
  const said = h('div', { class: 'notice', role: 'alert', 'data-testid': 'export-fault' });
  const list = h('ul', { class: 'export-list', 'data-testid': 'exports' });
  const panel = h('div', { class: 'play-exports' },
    scope.text(h('p', { class: 'hint' }), 'playback.export.text'),
    h('div', { class: 'export-actions' }, ...requests(recording).map((request) => button(scope, {
      testid: `export-${request.kind === 'composed' ? request.format : 'merged'}`, icon: 'download',
      words: () => requestWords(recording, request), act: () => attempt(() => exports.make(request)),
    }))), said, list);
  scope.effect(() => {
    lang.value;
    said.hidden = !fault.value;
    if (fault.value) said.replaceChildren(...refusal(fault.value));
    panel.hidden = exports.jobs.value === null || recording.live;
  });
  scope.effect(() => {
    lang.value;
    const jobs = exports.jobs.value ?? [];
    const focused = list.contains(document.activeElement) ? document.activeElement?.closest('li')?.dataset.job : '';
    list.replaceChildren(...jobs.map((job) => exportRow(access, recording, job, () => attempt(() => exports.remove(job.id)))));
    // A row is drawn anew with every bit of progress: the focus stays where it was.
    if (focused) [...list.children].find((row) => /** @type {HTMLElement} */ (row).dataset.job === focused)?.querySelector('button')?.focus();
  });
  return panel;
}

/** What may be asked for. @param {Recording} recording @returns {ExportRequest[]} */
function requests({ lanes, parts }) {
  const merged = (/** @type {'cam' | 'screen'} */ source) => lanes.filter((l) => l.parts[source].length && l.parts.mic.length)
    .map((l) => /** @type {ExportRequest} */ ({ kind: 'merged', format: 'webm', participant: l.identity, ...(source === 'screen' ? { source } : {}) }));
  if (parts.length === 0) return [];
  return [{ kind: 'composed', format: 'mp4' }, { kind: 'composed', format: 'webm' }, ...merged('cam'), ...merged('screen')];
}

/** @param {Recording} recording @param {{kind: string, format: string, participant?: string, source?: string}} request */
function requestWords({ lanes }, { kind, format, participant, source }) {
  if (kind === 'composed') return t(`playback.export.${format}`);
  const name = lanes.find((l) => l.identity === participant)?.name ?? participant ?? t('playback.everybody');
  return t(source === 'screen' ? 'playback.export.screen' : 'playback.export.merged', { name });
}

/** @param {ApiError} error */
function refusal(error) {
  const key = refusalWords(error);
  // What only the server knows it says itself.
  const detail = key === 'playback.export.refused' || key === 'playback.export.no_program' ? error.detail : '';
  return [h('p', {}, t(key)), detail ? h('p', { class: 'hint', lang: 'en' }, detail) : ''];
}

/** @param {RecordingAccess} access @param {Recording} recording @param {ExportJob} job @param {() => void} onRemove */
function exportRow(access, recording, job, onRemove) {
  const what = requestWords(recording, job);
  const ended = job.state === 'done' || job.state === 'failed';
  const act = t(ended ? 'playback.export.remove' : 'playback.export.stop');
  const remove = h('button', { type: 'button', class: 'button small', 'data-testid': 'export-remove', 'aria-label': `${act}: ${what}`, onclick: onRemove }, act);
  return h('li', { 'data-state': job.state, 'data-testid': 'export-job', 'data-job': job.id },
    h('span', { class: 'export-what' }, h('span', {}, what), h('small', { class: 'hint' }, dateTime(job.created))),
    h('span', { class: 'export-state' }, ...jobState(access, recording, job, what)), remove);
}

/** @param {RecordingAccess} access @param {Recording} recording @param {ExportJob} job @param {string} what @returns {(Node | string)[]} */
function jobState(access, { lanes }, job, what) {
  const words = t(`playback.export.${job.state}`);
  if (job.state === 'done') {
    const several = job.files.length > 1;
    const name = (/** @type {string | undefined} */ who) => (several ? lanes.find((l) => l.identity === who)?.name ?? who ?? '' : '');
    return job.files.map((f) => download(access, f.name, f.bytes, name(f.participant)));
  }
  if (job.state === 'failed') return [h('span', { class: 'export-failed' }, words), job.reason ? h('span', { lang: 'en' }, job.reason) : ''];
  const bar = h('progress', { max: '1', 'aria-label': `${what}: ${words}` });
  if (job.state === 'queued') return [bar, words];
  bar.value = job.progress ?? 0;
  return [bar, `${Math.round((job.progress ?? 0) * 100)} %`];
}
