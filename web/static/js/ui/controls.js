// @ts-check
// The bar of buttons of a call, and its keys.
import { canShareScreen } from '../client/devices.js';
import { h, icon } from '../lib/element.js';
import { t } from '../lib/i18n.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/call.js').Call} Call */
/** @typedef {import('../client/local.js').LocalMedia} LocalMedia */
/** @typedef {import('../lib/element.js').IconName} IconName */

/**
 * @param {Scope} scope @param {Call} call @param {LocalMedia} local
 * @param {{onLeave: () => void, panels: {name: 'people' | 'settings', open: import('../lib/signal.js').Signal<boolean>, badge?: () => number}[]}} options
 */
export function controls(scope, call, local, { onLeave, panels }) {
  const bar = h('nav', { class: 'controls' });
  scope.attribute(bar, 'aria-label', () => t('controls.title'));
  const add = (/** @type {HTMLElement} */ element, /** @type {() => boolean} */ shown) => {
    scope.effect(() => {
      element.hidden = !shown();
    });
    bar.append(element);
  };
  add(mute('mic', 'M'), () => call.may('publish.audio'));
  add(mute('cam', 'V'), () => call.may('publish.video'));
  add(share(), () => call.may('publish.screen') && canShareScreen());
  for (const panel of panels) bar.append(panelButton(scope, panel));
  bar.append(control('leave', () => 'leave', () => t('controls.leave'), onLeave, 'danger'));
  keys(scope, call, local, panels.map((p) => p.open));
  return bar;

  /** @param {'mic' | 'cam'} source @param {string} key */
  function mute(source, key) {
    const muted = () => isOff(local[source].value);
    const toggle = () => local.setMuted(source, !isOff(local[source].peek()));
    const words = () => t(muted() ? `controls.unmute_${source}` : `controls.mute_${source}`);
    const element = control(`mute-${source}`, () => (muted() ? `${source}-off` : source), words, toggle);
    element.setAttribute('aria-keyshortcuts', key);
    // The words say what pressing does, and whoever speaks to his device says
    // them (WCAG 2.5.3); what "pressed" means needs words that do not change.
    scope.attribute(element, 'aria-pressed', () => String(muted()));
    scope.attribute(element, 'aria-label', () => `${words()}, ${t(`controls.label_${source}`)}`);
    return element;
  }

  function share() {
    const on = () => local.screen.value.track !== null;
    const element = control('share-screen', () => 'screen', () => t(on() ? 'controls.unshare' : 'controls.share'),
      () => (local.screen.peek().track ? local.stopScreen() : local.startScreen()));
    scope.attribute(element, 'aria-pressed', () => String(on()));
    return element;
  }

  /**
   * @param {string} testid @param {() => string} iconName @param {() => string} words
   * @param {() => void} act @param {string} [kind]
   */
  function control(testid, iconName, words, act, kind = '') {
    const mark = h('span', { class: 'control-icon' });
    scope.effect(() => mark.replaceChildren(icon(/** @type {IconName} */ (iconName()))));
    const text = scope.text(h('span', { class: 'control-text' }), words);
    return h('button', { type: 'button', class: `control ${kind}`.trim(), 'data-testid': testid, onclick: act }, mark, text);
  }
}

/** Switched off, or not to be had. @param {import('../client/local.js').LocalSource} source */
export function isOff({ track, muted }) {
  return muted || !track;
}

/** @param {Scope} scope @param {{name: 'people' | 'settings', open: import('../lib/signal.js').Signal<boolean>, badge?: () => number}} panel */
function panelButton(scope, { name, open, badge }) {
  const count = h('span', { class: 'badge', hidden: true });
  const element = h('button', {
    type: 'button', class: 'control', 'data-testid': `open-${name}`, 'aria-controls': `panel-${name}`,
    onclick: () => {
      open.value = !open.peek();
    },
  }, h('span', { class: 'control-icon' }, icon(name)), scope.text(h('span', { class: 'control-text' }), `controls.${name}`), count);
  scope.attribute(element, 'aria-expanded', () => String(open.value));
  scope.effect(() => {
    const n = badge?.() ?? 0;
    count.hidden = n === 0;
    count.textContent = String(n);
  });
  return element;
}

/** @param {Scope} scope @param {Call} call @param {LocalMedia} local @param {import('../lib/signal.js').Signal<boolean>[]} panels */
function keys(scope, call, local, panels) {
  scope.listen(document, 'keydown', (/** @type {KeyboardEvent} */ e) => {
    const target = /** @type {Element} */ (e.target);
    if (e.key === 'Escape') {
      for (const open of panels) open.value = false;
      return;
    }
    if (e.ctrlKey || e.altKey || e.metaKey || e.repeat || target.matches('input, select, textarea')) return;
    // The key's place, so that it works in the Cyrillic layout too.
    if (e.code === 'KeyM' && call.may('publish.audio')) local.setMuted('mic', !isOff(local.mic.peek()));
    if (e.code === 'KeyV' && call.may('publish.video')) local.setMuted('cam', !isOff(local.cam.peek()));
  });
}
