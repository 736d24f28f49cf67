// @ts-check
import { effect } from './signal.js';
import { setAttribute } from './element.js';
import { t } from './i18n.js';

/** Effects, listeners and timers that end together, with the thing they serve. */
export class Scope {
  /** @type {(() => void)[]} */ #stops = [];

  /** @param {() => void} fn */
  effect(fn) {
    this.#stops.push(effect(fn));
  }

  /** @param {() => void} stop */
  onStop(stop) {
    this.#stops.push(stop);
  }

  /** @param {EventTarget} target @param {string} type @param {(e: any) => void} listener */
  listen(target, type, listener) {
    target.addEventListener(type, listener);
    this.#stops.push(() => target.removeEventListener(type, listener));
  }

  /** @param {() => void} fn @param {number} ms */
  every(fn, ms) {
    const timer = setInterval(fn, ms);
    this.#stops.push(() => clearInterval(timer));
  }

  /**
   * Keeps words in an element, in the language of the moment.
   * @template {Element} E
   * @param {E} element @param {string | (() => string)} words  key or function
   * @returns {E}
   */
  text(element, words) {
    this.effect(() => {
      const text = typeof words === 'string' ? t(words) : words();
      if (element.textContent !== text) element.textContent = text;
    });
    return element;
  }

  /**
   * The same for an attribute, such as aria-label.
   * @template {Element} E
   * @param {E} element @param {string} name @param {() => string | boolean | null} value
   * @returns {E}
   */
  attribute(element, name, value) {
    this.effect(() => setAttribute(element, name, value()));
    return element;
  }

  stop() {
    for (const stop of this.#stops.splice(0)) stop();
  }
}
