// @ts-check
// The page before the call: is it the right place, do camera and microphone
// work, may the call be recorded.
import { h, icon } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { signal } from '../lib/signal.js';
import { consentBox } from './consent.js';
import { isOff } from './controls.js';
import { deviceSelects } from './devices.js';
import { failurePanel } from './failure.js';
import { brand, button, languageSelect } from './parts.js';
import { levelMeter, preview } from './preview.js';

/** @typedef {import('../client/local.js').LocalMedia} LocalMedia */
/** @typedef {import('../client/messages.js').Consent} Consent */

const HINT_AFTER = 8000; // ms that a question of the browser may stay unanswered

/**
 * @param {object} options
 * @param {string} options.name  of the person, from the token
 * @param {string} [options.notice]  key of words to begin with
 * @param {LocalMedia} options.local
 * @param {{mic: boolean, cam: boolean}} options.wanted
 * @param {boolean} options.recording  ask for consent
 * @param {boolean} options.inApp  the browser is inside another app
 * @param {() => Promise<void>} options.openDevices
 * @param {(consent: Consent | undefined) => void} options.onJoin
 * @param {(consent: Consent) => void} options.onRefuse
 * @returns {{element: HTMLElement, stop: () => void}}
 */
export function joinScreen(options) {
  const scope = new Scope();
  const { local, wanted } = options;
  const accepted = signal(!options.recording);
  const asking = signal(wanted.mic || wanted.cam);
  const late = signal(false);
  const open = () => {
    asking.value = true;
    const hint = setTimeout(() => {
      late.value = true;
    }, HINT_AFTER);
    options.openDevices().finally(() => {
      clearTimeout(hint);
      asking.value = late.value = false;
    });
  };

  const join = button(scope, {
    testid: 'join', kind: 'primary large', words: 'join.button',
    act: () => options.onJoin(options.recording ? consent(true) : undefined),
  });
  scope.effect(() => {
    join.disabled = !accepted.value || asking.value;
  });
  const why = scope.text(h('p', { class: 'join-why', id: 'join-why' }), () => {
    if (!accepted.value) return t('join.needs_consent');
    return asking.value ? t('join.needs_answer') : '';
  });
  join.setAttribute('aria-describedby', 'join-why');

  const element = h('main', { class: 'join', 'data-testid': 'page-join' },
    h('header', { class: 'page-header' }, brand(), languageSelect(scope)),
    h('div', { class: 'join-body' },
      h('section', { class: 'join-look' },
        preview(scope, local, toggles(scope, local, wanted)),
        wanted.mic ? meterRow(scope, local) : null,
        // On a phone the way to the button is long enough without it.
        h('details', { class: 'device-details', open: matchMedia('(min-width: 56rem)').matches },
          scope.text(h('summary'), 'devices.title'), deviceSelects(scope, local, wanted))),
      h('section', { class: 'join-form' },
        scope.text(h('h1'), 'join.title'),
        greeting(scope, options.name),
        options.notice ? scope.text(h('p', { class: 'notice', role: 'alert', 'data-testid': 'join-notice' }), options.notice) : null,
        problems(scope, options, late, open),
        options.recording ? consentBox(scope, accepted, () => options.onRefuse(consent(false))) : null,
        join, why)));
  open();
  return { element, stop: () => scope.stop() };
}

/** The version of the sentence is that of the catalogues. @param {boolean} recording @returns {Consent} */
function consent(recording) {
  return { recording, text: t('consent.version'), lang: lang.peek() };
}

/** @param {Scope} scope @param {string} name */
function greeting(scope, name) {
  const who = h('strong', { 'data-testid': 'name' }, name);
  return h('p', { class: 'greeting' }, scope.text(h('span'), 'join.as'), ' ', who);
}

/** @param {Scope} scope @param {LocalMedia} local */
function meterRow(scope, local) {
  return h('div', { class: 'meter-row' }, icon('mic'), levelMeter(scope, local),
    scope.text(h('span', { class: 'hint' }), 'preview.speak'));
}

/** @param {Scope} scope @param {LocalMedia} local @param {{mic: boolean, cam: boolean}} wanted */
function toggles(scope, local, wanted) {
  const row = h('div', { class: 'preview-toggles' });
  for (const source of /** @type {const} */ (['mic', 'cam'])) {
    if (!wanted[source]) continue;
    const toggle = h('button', {
      type: 'button', class: 'round', 'data-testid': `mute-${source}`,
      onclick: () => local.setMuted(source, !isOff(local[source].peek())),
    });
    scope.effect(() => {
      const muted = isOff(local[source].value);
      toggle.replaceChildren(icon(muted ? `${source}-off` : source));
      toggle.setAttribute('aria-pressed', String(muted));
      toggle.setAttribute('aria-label', t(`controls.label_${source}`));
      toggle.title = t(muted ? `controls.unmute_${source}` : `controls.mute_${source}`);
    });
    row.append(toggle);
  }
  return row;
}

/**
 * @param {Scope} scope @param {{inApp: boolean, local: LocalMedia}} options
 * @param {import('../lib/signal.js').Signal<boolean>} late @param {() => void} retry
 */
function problems(scope, { inApp, local }, late, retry) {
  const box = h('div', { class: 'problems' });
  scope.effect(() => {
    /** @type {HTMLElement[]} */
    const list = [];
    const codes = new Set([local.cam.value.code, local.mic.value.code].filter((c) => c !== null));
    if (inApp && codes.size) codes.clear(), codes.add('IN_APP_BROWSER');
    if (late.value) list.push(h('p', { class: 'notice', role: 'status' }, t('devices.answer')));
    for (const code of codes) {
      list.push(failurePanel({ code, actions: [{ words: t('failure.try_again'), act: retry }] }));
    }
    box.replaceChildren(...list);
  });
  return box;
}
