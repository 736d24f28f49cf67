// @ts-check
// Play, back and ahead, the time, the speed; and the keys for them.
import { h, icon, setAttribute } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { clock } from './admin-format.js';
import { announce } from './parts.js';
import { SPEEDS } from './playback-player.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('./playback-player.js').Player} Player */

const STEP = 5000; // ms, of the arrow keys
const LEAP = 30_000; // with Shift

/** @param {Scope} scope @param {Player} player @param {HTMLElement} page */
export function transport(scope, player, page) {
  keys(scope, player, page);
  const play = h('button', { type: 'button', class: 'button primary play-button', 'data-testid': 'play', onclick: () => player.toggle() });
  scope.effect(() => {
    const on = player.playing.value;
    const words = t(on ? 'playback.pause' : 'playback.play');
    play.replaceChildren(icon(on ? 'pause' : 'play'), h('span', {}, words));
    play.dataset.playing = String(on);
  });
  const waiting = scope.text(h('span', { class: 'play-waiting', role: 'status', 'data-testid': 'play-waiting' }),
    () => (player.playing.value && player.waiting.value ? t('playback.waiting') : ''));
  return h('div', { class: 'play-transport', role: 'group', 'data-testid': 'transport' },
    jump(scope, player, -10, 'back'), play, jump(scope, player, 10, 'ahead'),
    h('p', { class: 'play-time' },
      scope.text(h('span', { 'data-testid': 'play-position' }), () => clock(player.beat.value)), ' / ', clock(player.length)),
    waiting, speedSelect(scope, player), linkButton(scope, player));
}

/** @param {Scope} scope @param {Player} player @param {number} seconds @param {import('../lib/element.js').IconName} name */
function jump(scope, player, seconds, name) {
  const out = h('button', { type: 'button', class: 'button', 'data-testid': `jump-${name}`, onclick: () => player.seek(player.position.peek() + seconds * 1000) },
    icon(name), h('span', { 'aria-hidden': 'true' }, String(Math.abs(seconds))));
  const words = () => t(seconds < 0 ? 'playback.back' : 'playback.ahead', { count: Math.abs(seconds) });
  scope.attribute(out, 'aria-label', words);
  return scope.attribute(out, 'title', words);
}

/** @param {Scope} scope @param {Player} player */
function speedSelect(scope, player) {
  const select = h('select', { id: 'speed', 'data-testid': 'speed' });
  scope.effect(() => {
    const number = new Intl.NumberFormat(lang.value, { maximumFractionDigits: 2 });
    select.replaceChildren(...SPEEDS.map((s) => h('option', { value: s }, `${number.format(s)}×`)));
    select.value = String(player.speed.peek());
  });
  scope.listen(select, 'change', () => player.setSpeed(Number(select.value)));
  return h('span', { class: 'play-speed' }, scope.text(h('label', { for: 'speed' }), 'playback.speed'), select);
}

/** A link to this very moment. @param {Scope} scope @param {Player} player */
function linkButton(scope, player) {
  const out = h('button', {
    type: 'button', class: 'button', 'data-testid': 'copy-moment', onclick: async () => {
      const link = new URL(location.href);
      link.hash = `t=${(player.position.peek() / 1000).toFixed(1)}`;
      history.replaceState(null, '', link);
      await navigator.clipboard?.writeText(link.href).then(() => announce(t('playback.copied')), () => {});
    },
  }, icon('link'), scope.text(h('span'), 'playback.copy'));
  return scope.attribute(out, 'title', () => t('playback.copy'));
}

/**
 * The keys of the page: none is a letter (WCAG 2.2, 2.1.4), and what has the
 * focus comes first.
 * @param {Scope} scope @param {Player} player @param {HTMLElement} page
 */
function keys(scope, player, page) {
  scope.listen(page.ownerDocument, 'keydown', (/** @type {KeyboardEvent} */ e) => {
    const target = /** @type {HTMLElement} */ (e.target);
    if (e.ctrlKey || e.altKey || e.metaKey || target.closest('input, select, textarea, [role=tab], dialog')) return;
    const now = player.position.peek();
    const step = e.shiftKey ? LEAP : STEP;
    if (e.key === ' ') {
      if (target.closest('button, a, summary')) return;
      player.toggle();
    } else if (e.key === 'ArrowLeft') player.seek(now - step);
    else if (e.key === 'ArrowRight') player.seek(now + step);
    else if (e.key === 'Home') player.seek(0);
    else if (e.key === 'End') player.seek(player.length);
    else return;
    e.preventDefault();
  });
}

/** The bar of the whole recording, a slider for every pointer, key and reader. @param {Scope} scope @param {Player} player */
export function seekBar(scope, player) {
  const bar = h('input', { type: 'range', class: 'seek', min: '0', max: String(Math.ceil(player.length)), step: '100', value: '0', 'data-testid': 'seek' });
  scope.attribute(bar, 'aria-label', () => t('playback.seek'));
  scope.listen(bar, 'input', () => player.seek(bar.valueAsNumber));
  scope.listen(bar, 'pointerdown', () => player.scrub(true));
  for (const end of ['pointerup', 'pointercancel']) scope.listen(bar, end, () => player.scrub(false));
  scope.listen(bar, 'keydown', (/** @type {KeyboardEvent} */ e) => {
    const step = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -LEAP, PageUp: LEAP }[e.key];
    if (!step) return;
    e.preventDefault();
    player.seek(player.position.peek() + step * (e.shiftKey ? LEAP / STEP : 1));
  });
  scope.effect(() => {
    const now = player.position.value;
    bar.valueAsNumber = now;
    setAttribute(bar, 'aria-valuetext', t('playback.time_of', { now: clock(now), all: clock(player.length) }));
  });
  return bar;
}
