// @ts-check
// Screens that say one thing: waiting, over, not possible.
import { h, icon } from '../lib/element.js';
import { hasWords, lang, t } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { failurePanel } from './failure.js';
import { brand, button, languageSelect } from './parts.js';
import { selfVideo } from './preview.js';

/** @typedef {{element: HTMLElement, stop: () => void}} Screen */

/** @param {Scope} scope @param {string} testid @param {...(HTMLElement | SVGElement | null)} content */
function card(scope, testid, ...content) {
  return h('main', { class: 'plain', 'data-testid': testid },
    h('header', { class: 'page-header' }, brand(), languageSelect(scope)),
    h('section', { class: 'card' }, ...content));
}

/**
 * @param {import('../client/call.js').Call | null} call null: the devices are being opened
 * @returns {Screen}
 */
export function connectingScreen(call) {
  const scope = new Scope();
  const box = h('div');
  scope.effect(() => {
    lang.value;
    const [first] = call?.failures.list.value ?? [];
    box.replaceChildren(...(first ? [failurePanel(first)] : []));
  });
  const element = card(scope, 'connecting', h('div', { class: 'spinner', 'aria-hidden': 'true' }),
    scope.text(h('p', { role: 'status', 'data-testid': 'connection-state' }), () => {
      const attempt = call?.socket.value.attempt ?? 0;
      return attempt ? t('connection.trying', { attempt }) : t('connection.connecting');
    }), box);
  return { element, stop: () => scope.stop() };
}

/**
 * @param {import('../client/call.js').Call} call
 * @param {import('../client/local.js').LocalMedia} local
 * @param {() => void} onLeave
 * @returns {Screen}
 */
export function waitingScreen(call, local, onLeave) {
  const scope = new Scope();
  const state = scope.text(h('p', { class: 'hint', role: 'status', 'data-testid': 'connection-state' }),
    () => (call.socket.value.state === 'open' ? t('waiting.connected') : t('connection.reconnecting', { attempt: call.socket.value.attempt })));
  const box = h('div');
  scope.effect(() => {
    lang.value;
    const [first] = call.failures.list.value.filter((f) => f.participant === '');
    box.replaceChildren(...(first ? [failurePanel({ ...first, role: call.me.value?.role })] : []));
  });
  const element = card(scope, 'waiting',
    h('div', { class: 'waiting-mark' }, icon('clock')),
    scope.text(h('h1'), 'waiting.title'),
    scope.text(h('p'), 'waiting.text'),
    h('div', { class: 'preview small' }, selfVideo(scope, local, 'self-video')),
    state, box,
    button(scope, { testid: 'leave', words: 'waiting.leave', act: onLeave }));
  return { element, stop: () => scope.stop() };
}

/**
 * @param {import('../client/messages.js').Ended} ended
 * @param {string} by name of who ended it
 * @param {() => void} onAgain
 * @returns {Screen}
 */
export function endedScreen(ended, by, onAgain) {
  const scope = new Scope();
  const reason = ['left', 'removed', 'replaced', 'call_ended', 'shutdown'].includes(ended.reason) ? ended.reason : 'other';
  const again = ['left', 'replaced', 'shutdown', 'other'].includes(reason)
    ? button(scope, { testid: 'rejoin', kind: 'primary', words: reason === 'replaced' ? 'ended.here' : 'ended.again', act: onAgain }) : null;
  const element = card(scope, 'ended',
    scope.text(h('h1'), () => t(`ended.${reason}.title`)),
    scope.text(h('p'), () => t(`ended.${reason}.text`, { by })),
    again);
  element.dataset.reason = ended.reason;
  if (ended.code) element.dataset.code = ended.code;
  return { element, stop: () => scope.stop() };
}

/**
 * @param {string} code @param {string | undefined} role @param {(() => void) | null} onAgain
 * @returns {Screen}
 */
export function failedScreen(code, role, onAgain) {
  const scope = new Scope();
  const box = h('div');
  scope.effect(() => {
    lang.value;
    const actions = onAgain ? [{ words: t('failure.try_again'), act: onAgain, testid: 'rejoin' }] : [];
    if (code === 'IN_APP_BROWSER') actions.push({ words: t('failure.copy_link'), act: () => copyLink(), testid: 'copy-link' });
    const title = `failure.title.${code}`;
    box.replaceChildren(h('h1', {}, t(hasWords(title) ? title : 'failure.title')), failurePanel({ code, role, actions }));
  });
  const element = card(scope, 'failed', box);
  return { element, stop: () => scope.stop() };
}

function copyLink() {
  navigator.clipboard?.writeText(location.href).catch(() => {});
}
