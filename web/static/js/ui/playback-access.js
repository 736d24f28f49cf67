// @ts-check
// What the page says when it may not show the recording, and how to get in.
import { ApiError } from '../client/administration.js';
import { h } from '../lib/element.js';
import { t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { button } from './parts.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording.js').RecordingAccess} RecordingAccess */

/** What each status means to who wants to look. @type {Record<number, string>} */
const REASONS = { 0: 'unreachable', 401: 'closed', 403: 'closed', 404: 'missing', 410: 'erased' };

/**
 * @param {Scope} scope @param {RecordingAccess} access @param {ApiError} error
 * @param {(error?: ApiError) => void} onOpen  the recording may be asked for again; error: it needs not
 */
export function accessCard(scope, access, error, onOpen) {
  const reason = REASONS[error.status] ?? 'failed';
  const card = h('section', { class: 'card play-access', 'data-testid': 'play-access', 'data-reason': reason },
    scope.text(h('h1'), () => t(`playback.access.${reason}.title`)),
    scope.text(h('p'), () => t(`playback.access.${reason}.text`)));
  if (error.detail && (reason === 'erased' || reason === 'failed')) card.append(h('p', { class: 'notice', lang: 'en' }, error.detail));
  if (reason === 'unreachable' || reason === 'failed') {
    card.append(button(scope, { testid: 'try-again', kind: 'primary', words: 'failure.try_again', act: () => onOpen() }));
  }
  if (reason === 'closed') card.append(signInForm(scope, access, onOpen));
  return card;
}

/** @param {Scope} scope @param {RecordingAccess} access @param {(error?: ApiError) => void} onOpen */
export function signInForm(scope, access, onOpen) {
  const secret = h('input', { type: 'password', id: 'play-secret', 'data-testid': 'play-secret', autocomplete: 'off', spellcheck: 'false', required: true });
  const fault = signal('');
  const said = scope.text(h('p', { class: 'notice', role: 'alert', 'data-testid': 'play-fault' }), () => (fault.value ? t(fault.value) : ''));
  scope.effect(() => {
    said.hidden = !fault.value;
  });
  const form = h('form', { class: 'play-sign-in' },
    h('div', { class: 'field' }, scope.text(h('label', { for: 'play-secret' }), 'admin.sign_in.label'), secret),
    said, scope.text(h('button', { type: 'submit', class: 'button', 'data-testid': 'play-sign-in' }), 'admin.sign_in.button'));
  scope.listen(form, 'submit', async (/** @type {Event} */ e) => {
    e.preventDefault(); // what was typed never leaves by the form itself
    try {
      await access.signIn(secret.value);
      secret.value = '';
      fault.value = '';
      onOpen();
    } catch (error) {
      if (error instanceof ApiError && (error.status === 404 || error.status === 410)) onOpen(error); // who he is was believed
      else fault.value = error instanceof ApiError && [401, 403].includes(error.status) ? 'admin.sign_in.refused' : 'admin.unreachable';
    }
  });
  return h('details', { class: 'play-details' }, scope.text(h('summary'), 'playback.access.staff'), form);
}
