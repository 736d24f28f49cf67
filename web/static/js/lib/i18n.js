// @ts-check
import { signal } from './signal.js';

/** Languages of the client, each in its own words. */
export const LANGUAGES = { en: 'English', ru: 'Русский' };
/** @typedef {keyof typeof LANGUAGES} Lang */

const STORED = 'consilium.lang';
/** @type {Record<string, string>} */
let words = {};

/** The language shown; effects that call t() run again when it changes. */
export const lang = signal(/** @type {Lang} */ ('en'));
const loaded = signal(0);

/** @param {string | null | undefined} name @returns {Lang | null} */
function known(name) {
  const base = (name ?? '').toLowerCase().split('-')[0];
  return base in LANGUAGES ? /** @type {Lang} */ (base) : null;
}

/**
 * The language to start with: chosen before on this device, asked for by the
 * link, or set in the browser.
 * @param {string} [wanted] from the join token
 * @returns {Lang}
 */
export function preferredLanguage(wanted) {
  let stored = null;
  try {
    stored = localStorage.getItem(STORED);
  } catch {
    // Storage is off: nothing is remembered.
  }
  return known(stored) ?? known(wanted) ?? navigator.languages.map(known).find((l) => l) ?? 'en';
}

/**
 * Loads a language and shows it.
 * @param {Lang} name
 * @param {boolean} [remember]
 */
export async function useLanguage(name, remember = false) {
  const answer = await fetch(new URL(`../../i18n/${name}.json`, import.meta.url));
  words = await answer.json();
  document.documentElement.lang = name;
  lang.value = name;
  loaded.value = loaded.peek() + 1;
  if (!remember) return;
  try {
    localStorage.setItem(STORED, name);
  } catch {
    // Storage is off.
  }
}

/**
 * The words for a key. {name} stands for a parameter. Where count is given and
 * the key has forms, the plural form of the language is taken (key.one,
 * key.few, key.many, key.other).
 * @param {string} key
 * @param {Record<string, string | number>} [parameters]
 */
export function t(key, parameters = {}) {
  loaded.value; // subscribe to a change of language
  let text = words[key];
  if (text === undefined && typeof parameters.count === 'number') {
    const form = new Intl.PluralRules(lang.peek()).select(parameters.count);
    text = words[`${key}.${form}`] ?? words[`${key}.other`];
  }
  return (text ?? key).replace(/\{(\w+)\}/g, (whole, name) => String(parameters[name] ?? whole));
}

/** @param {string} key */
export function hasWords(key) {
  return key in words;
}
