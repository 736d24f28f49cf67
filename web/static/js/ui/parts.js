// @ts-check
// Small parts that several screens use.
import { h, icon } from '../lib/element.js';
import { LANGUAGES, lang, useLanguage } from '../lib/i18n.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */

/** The name of the product, on every page. */
export function brand() {
  return h('span', { class: 'brand' }, h('span', { class: 'brand-mark', 'aria-hidden': 'true' }), 'Consilium');
}

/** @param {Scope} scope */
export function languageSelect(scope) {
  const select = h('select', { 'data-testid': 'lang-select', class: 'lang-select' });
  for (const [value, name] of Object.entries(LANGUAGES)) select.append(h('option', { value, lang: value }, name));
  scope.effect(() => {
    select.value = lang.value;
  });
  scope.listen(select, 'change', () => useLanguage(/** @type {any} */ (select.value), true));
  // Both languages: who needs this does not read the other.
  select.setAttribute('aria-label', 'Language / Язык');
  return select;
}

/**
 * @param {Scope} scope
 * @param {object} options
 * @param {string} options.testid
 * @param {string | (() => string)} options.words
 * @param {import('../lib/element.js').IconName} [options.icon]
 * @param {string} [options.kind] primary, danger or ""
 * @param {() => void} options.act
 */
export function button(scope, { testid, words, icon: name, kind = '', act }) {
  const text = scope.text(h('span'), words);
  return h('button', { type: 'button', class: `button ${kind}`.trim(), 'data-testid': testid, onclick: act },
    name ? icon(name) : null, text);
}

/**
 * Where news are spoken by screen readers. One for the page, so that it is
 * there before what it says.
 */
const announcer = h('div', { class: 'visually-hidden', 'aria-live': 'polite', role: 'status', 'data-testid': 'announcer' });
document.body.append(announcer);

/** @param {string} words */
export function announce(words) {
  announcer.textContent = '';
  setTimeout(() => {
    announcer.textContent = words;
  }, 50);
}

/** A colour for a person without a picture, the same on every screen. @param {string} identity */
export function hue(identity) {
  let sum = 0;
  for (const c of identity) sum = Math.imul(sum + /** @type {number} */ (c.codePointAt(0)), 2654435761);
  return sum >>> 29; // one of eight in the style sheet
}

/** @param {string} name */
export function initials(name) {
  const words = name.split(/[\s._~-]+/).filter(Boolean);
  return words.slice(0, 2).map((w) => [...w][0].toLocaleUpperCase()).join('') || '?';
}
