// @ts-check
// The call itself.
import { h } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { signal } from '../lib/signal.js';
import { controls } from './controls.js';
import { deviceSelects } from './devices.js';
import { failurePanel, failureWords } from './failure.js';
import { announce, brand, languageSelect } from './parts.js';
import { ask, panel, peoplePanel, waitingList } from './people.js';
import { recordingAlarm, recordingSign } from './recording.js';
import { soundOutlet } from './sound.js';
import { stage } from './stage.js';

/** @typedef {import('../client/call.js').Call} Call */
/** @typedef {import('../client/local.js').LocalMedia} LocalMedia */

/**
 * @param {object} options
 * @param {Call} options.call
 * @param {LocalMedia} options.local
 * @param {{mic: boolean, cam: boolean}} options.wanted
 * @param {() => void} options.onLeave
 * @param {() => void} options.onRejoin
 * @returns {{element: HTMLElement, stop: () => void}}
 */
export function callScreen({ call, local, wanted, onLeave, onRejoin }) {
  const scope = new Scope();
  const people = signal(false);
  const settings = signal(false);
  exclusive(scope, people, settings);
  const header = h('header', { class: 'call-header' }, brand(), recordingSign(scope, call), connectionState(scope, call));
  const bar = controls(scope, call, local, {
    onLeave: async () => {
      if (!call.may('end') || await ask(t('leave.sure'), t('controls.leave'))) onLeave();
    },
    panels: [
      { name: 'people', open: people, badge: () => (call.may('admit') ? call.roster.waiting().length : 0) },
      { name: 'settings', open: settings },
    ],
  });
  const element = h('main', { class: 'call', 'data-testid': 'call' },
    h('div', {}, header, recordingAlarm(scope, call)),
    h('div', { class: 'call-body' },
      h('div', { class: 'call-stage' },
        stage(scope, call, local),
        h('div', { class: 'overlays' }, waitingList(scope, call), failures(scope, call, local, onRejoin), muteNotice(scope, call, local)),
        soundOutlet(scope, call, local)),
      peoplePanel(scope, call, people),
      panel(scope, 'settings', settings, deviceSelects(scope, local, wanted), languageField(scope))),
    bar);
  scope.attribute(element, 'data-media', () => call.media.value);
  news(scope, call);
  wakeLock(scope);
  return { element, stop: () => scope.stop() };
}

/** One panel at a time. @param {Scope} scope @param {import('../lib/signal.js').Signal<boolean>} a @param {import('../lib/signal.js').Signal<boolean>} b */
function exclusive(scope, a, b) {
  scope.effect(() => {
    if (a.value) b.value = false;
  });
  scope.effect(() => {
    if (b.value) a.value = false;
  });
}

/** @param {Scope} scope */
function languageField(scope) {
  return h('div', { class: 'field' }, scope.text(h('span', { class: 'label' }), 'settings.language'), languageSelect(scope));
}

/** @param {Scope} scope @param {Call} call */
function connectionState(scope, call) {
  const state = () => {
    if (call.socket.value.state !== 'open') return 'reconnecting';
    const media = call.media.value;
    if (media === 'connected') return 'connected';
    return ['disconnected', 'failed'].includes(media) ? 'reconnecting' : 'connecting';
  };
  const element = h('div', { class: 'connection-state', 'data-testid': 'connection-state', role: 'status' });
  const words = () => (state() === 'connected' && call.tunnelled.value ? 'tunnelled' : state());
  scope.text(element, () => t(`connection.${words()}`, { attempt: Math.max(1, call.socket.value.attempt) }));
  scope.attribute(element, 'data-state', state);
  // Nobody need do anything about it: a word for whoever asks.
  scope.effect(() => {
    lang.value;
    const note = call.failures.notes.value.find((f) => f.participant === '');
    element.title = note ? failureWords(note.code, true) : '';
    if (note) element.dataset.note = note.code;
    else delete element.dataset.note;
  });
  return element;
}

/** @param {Scope} scope @param {Call} call @param {LocalMedia} local @param {() => void} onRejoin */
function failures(scope, call, local, onRejoin) {
  const box = h('div', { class: 'failures' });
  /** Codes of devices that the person goes on without. */
  const accepted = signal(/** @type {string[]} */ ([]));
  scope.effect(() => {
    lang.value;
    const role = call.me.value?.role;
    const own = call.failures.list.value.filter((f) => f.participant === '');
    const device = own.length ? null : deviceFailure(local, accepted.value);
    const [first] = device ? [device] : own; // the first cause, not its consequences
    box.replaceChildren(...(first ? [failurePanel({
      ...first,
      role,
      actions: actionsFor(first.code, local, onRejoin, () => {
        accepted.value = [...accepted.peek(), first.code];
      }),
    })] : []));
  });
  return box;
}

/** Not to be heard is worse than not to be seen. @param {LocalMedia} local @param {string[]} accepted */
function deviceFailure(local, accepted) {
  if (local.interrupted.value && !local.mic.value.muted) return { code: 'INTERRUPTED', stage: 'devices' };
  const code = [local.mic.value.code, local.cam.value.code].find((c) => c && !accepted.includes(c));
  return code ? { code, stage: 'devices' } : null;
}

/**
 * @param {string} code @param {LocalMedia} local
 * @param {() => void} onRejoin @param {() => void} onAccept
 */
function actionsFor(code, local, onRejoin, onAccept) {
  if (/^(CAM|MIC)_|^NO_MEDIA_OUT|^INTERRUPTED/.test(code)) {
    const restart = { words: t('failure.restart_devices'), act: () => local.reopen() };
    const without = { words: t('failure.go_on'), act: onAccept, testid: 'failure-dismiss' };
    return /^(CAM|MIC)_/.test(code) ? [restart, without] : [restart];
  }
  if (code === 'PEER_ABSENT') return []; // nothing to do but wait
  return [{ words: t('failure.reconnect'), act: onRejoin }];
}

/** Somebody muted us: said until we unmute. @param {Scope} scope @param {Call} call @param {LocalMedia} local */
function muteNotice(scope, call, local) {
  const notice = h('p', { class: 'notice', role: 'status', 'data-testid': 'muted-by' });
  scope.effect(() => {
    const muted = call.roster.mutedBy.value;
    const source = muted && local[muted.source];
    notice.hidden = !muted || !source?.value.muted;
    notice.textContent = muted ? t(`muted_by.${muted.source}`, { name: call.roster.name(muted.by) }) : '';
  });
  return notice;
}

/** Speaks of who comes and goes. @param {Scope} scope @param {Call} call */
function news(scope, call) {
  /** @type {Map<string, string>} */
  let known = new Map();
  let first = true;
  scope.effect(() => {
    const now = new Map(call.roster.others.value.filter((p) => p.state !== 'waiting').map((p) => [p.identity, p.name || p.identity]));
    const words = [];
    for (const [id, name] of now) if (!known.has(id) && !first) words.push(t('news.joined', { name }));
    for (const [id, name] of known) if (!now.has(id)) words.push(t('news.left', { name }));
    if (words.length) announce(words.join('. '));
    known = now;
    first = false;
  });
}

/** Keeps the display of a phone lit. @param {Scope} scope */
function wakeLock(scope) {
  /** @type {WakeLockSentinel | null} */
  let lock = null;
  const take = async () => {
    if (document.visibilityState !== 'visible' || !navigator.wakeLock) return;
    lock = await navigator.wakeLock.request('screen').catch(() => null);
  };
  scope.listen(document, 'visibilitychange', take);
  scope.onStop(() => lock?.release());
  take();
}
