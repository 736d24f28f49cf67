// @ts-check
// The playback page: a recording with its player, its time axis, its moments
// and its files; or why it can't be shown.
import { ApiError } from '../client/administration.js';
import { recordingModel } from '../client/recording-model.js';
import { h, icon } from '../lib/element.js';
import { hasWords, lang, t } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { signal } from '../lib/signal.js';
import { clock, dateTime } from './admin-format.js';
import { brand, button, languageSelect } from './parts.js';
import { accessCard, signInForm } from './playback-access.js';
import { eventList } from './playback-events.js';
import { filesPanel } from './playback-files.js';
import { timeAxis } from './playback-lanes.js';
import { Player } from './playback-player.js';
import { playbackStage } from './playback-stage.js';
import { transport } from './playback-transport.js';

/** @typedef {import('../client/recording.js').RecordingAccess} RecordingAccess */
/** @typedef {import('../client/recording.js').Manifest} Manifest */
/** @typedef {import('../client/recording-model.js').Recording} Recording */

const LIVE_POLL = 10_000; // ms: whether a call that still runs has new files
const ASK = 240_000; // ms: a page that plays keeps its access awake

/** @param {RecordingAccess} access @returns {import('./plain.js').Screen} */
export function playbackScreen(access) {
  const scope = new Scope();
  const content = h('div', { class: 'play-content' });
  /** @type {Scope | null} */
  let shown = null;
  const open = async (/** @type {number} */ at) => {
    const found = await access.manifest().catch((/** @type {unknown} */ e) => (e instanceof ApiError ? e : new ApiError(0)));
    shown?.stop();
    shown = new Scope();
    content.replaceChildren(found instanceof ApiError ? refused(shown, found, at) : recordingView(shown, access, found, at, open));
  };
  /** @type {(inside: Scope, error: ApiError, at: number) => HTMLElement} */
  const refused = (inside, error, at) => accessCard(inside, access, error, (another) => {
    if (another) content.replaceChildren(refused(inside, another, at));
    else open(at);
  });
  open(momentInLink());
  scope.onStop(() => shown?.stop());
  const element = h('main', { class: 'playback', 'data-testid': 'page-playback' },
    h('header', { class: 'page-header' }, brand(), languageSelect(scope)), content);
  return { element, stop: () => scope.stop() };
}

/** Where a link to a moment (#t=SECONDS) points, ms. */
function momentInLink() {
  const seconds = Number(new URLSearchParams(location.hash.slice(1)).get('t'));
  return Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : 0;
}

/**
 * @param {Scope} scope @param {RecordingAccess} access @param {Manifest} manifest @param {number} at  ms
 * @param {(at: number) => void} onReload
 */
function recordingView(scope, access, manifest, at, onReload) {
  const recording = recordingModel(manifest);
  const closed = signal(false);
  const news = signal(false);
  const ask = () => access.manifest().then((m) => {
    news.value = recording.live && (m.state !== 'live' || (m.segments ?? []).filter((s) => s.state === 'final').length > recording.parts.length);
  }, (e) => {
    closed.value = e instanceof ApiError && [401, 403].includes(e.status);
  });
  const why = async (/** @type {string} */ file) => {
    const fault = await access.fault(file);
    if (fault === 'closed') closed.value = true; // the right to see it has ended
    return fault;
  };
  const player = new Player(scope, recording, { url: (file) => access.file(file), why });
  player.seek(at);
  if (recording.live) scope.every(ask, LIVE_POLL);
  scope.every(() => {
    if (player.playing.peek()) ask();
  }, ASK);
  const element = h('div', { class: 'play-view', 'data-testid': 'play-view', 'data-state': manifest.state });
  element.append(
    heading(scope, recording),
    notices(scope, recording, player, { news, onReload: () => onReload(player.position.peek()) }),
    closedNotice(scope, access, closed, player, () => onReload(player.position.peek())),
    h('div', { class: 'play-main' },
      h('div', { class: 'play-left' }, playbackStage(scope, player, recording), transport(scope, player, element), timeAxis(scope, player, recording)),
      eventList(scope, player, recording)),
    filesPanel(scope, access, recording, player),
    scope.text(h('p', { class: 'hint' }), 'playback.keys'));
  return element;
}

/** @param {Scope} scope @param {Recording} recording */
function heading(scope, { manifest, length, lanes }) {
  const about = scope.text(h('p', { class: 'hint' }), () => [
    dateTime(manifest.started), clock(length), t('playback.room', { room: manifest.room }),
    manifest.external_id ? t('admin.external_id', { id: manifest.external_id }) : '', t('admin.call_id', { id: manifest.call }),
  ].filter(Boolean).join(' · '));
  const title = scope.text(h('h1'), () => lanes.map((l) => (hasWords(`role.${l.role}`) ? `${l.name} (${t(`role.${l.role}`)})` : l.name)).join(', ') || t('playback.title'));
  const badges = h('ul', { class: 'play-badges' });
  scope.effect(() => {
    lang.value;
    const badge = (/** @type {string} */ kind, /** @type {boolean} */ good) =>
      h('li', { class: 'badge-item', 'data-kind': kind, title: t(`playback.badge.${kind}.text`) }, good ? icon('shield') : null, t(`playback.badge.${kind}`));
    badges.replaceChildren(badge(`state_${manifest.state}`, false),
      ...(manifest.signature ? [badge('signed', true)] : []),
      ...((manifest.segments ?? []).some((s) => s.sealed) ? [badge('sealed', true)] : []));
  });
  return h('div', { class: 'play-head' }, h('div', {}, title, about), badges);
}

/** What one must know before one looks. @param {Scope} scope @param {Recording} recording @param {Player} player @param {{news: import('../lib/signal.js').Signal<boolean>, onReload: () => void}} options */
function notices(scope, { manifest, live }, player, { news, onReload }) {
  const box = h('div', { class: 'play-notices' });
  const say = (/** @type {string} */ key, /** @type {string} */ testid) => {
    const said = h('div', { class: 'failure', 'data-testid': testid }, icon('warning'), scope.text(h('p'), key));
    box.append(said);
    return said;
  };
  if (live) {
    const reload = button(scope, { testid: 'show-news', words: 'playback.show_news', act: onReload });
    scope.effect(() => {
      reload.hidden = !news.value;
    });
    box.append(h('div', { class: 'notice play-live', 'data-testid': 'play-live', role: 'status' }, scope.text(h('p'), 'playback.live'), reload));
  }
  if (manifest.state === 'recovered') say('playback.recovered', 'play-recovered');
  if (manifest.state === 'locked' || (manifest.segments ?? []).some((s) => s.state === 'locked')) say('playback.locked', 'play-locked');
  if ((manifest.segments ?? []).some((s) => s.state === 'failed') || manifest.state === 'failed') say('playback.incomplete', 'play-incomplete');
  for (const fault of /** @type {const} */ (['missing', 'sealed', 'damaged'])) {
    const said = say(`playback.${fault}`, `play-${fault}`);
    said.setAttribute('role', 'status');
    scope.effect(() => {
      said.hidden = !player.faults.value.has(fault);
    });
  }
  return box;
}

/** The right to see it has ended while the page was open. @param {Scope} scope @param {RecordingAccess} access @param {import('../lib/signal.js').Signal<boolean>} closed @param {Player} player @param {() => void} onGone */
function closedNotice(scope, access, closed, player, onGone) {
  const box = h('div', { class: 'failure', role: 'alert', 'data-testid': 'play-closed' }, icon('warning'),
    h('div', { class: 'failure-text' }, scope.text(h('p'), 'playback.access.ended'), signInForm(scope, access, (error) => {
      if (error) return onGone();
      closed.value = false;
      player.retry();
    })));
  scope.effect(() => {
    box.hidden = !closed.value;
    if (closed.value) player.pause();
  });
  return box;
}
