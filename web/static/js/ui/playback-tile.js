// @ts-check
// One participant's picture, or his screen: who it is, what is heard of him,
// and why there is no picture when there is none.
import { loudness } from '../client/recording-model.js';
import { h, icon } from '../lib/element.js';
import { hasWords, t } from '../lib/i18n.js';
import { hue, initials } from './parts.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording-model.js').Lane} Lane */
/** @typedef {import('../client/recording-model.js').Span} Span */
/** @typedef {import('./playback-player.js').Player} Player */
/** @typedef {import('./playback-player.js').Item} Item */

const within = (/** @type {Span[]} */ spans, /** @type {number} */ ms) => spans.some((s) => ms >= s.start && ms < s.end);

/**
 * @param {Scope} scope @param {Player} player @param {Lane} lane @param {'cam' | 'screen'} source
 * @param {() => void} onEnlarge
 */
export function playbackTile(scope, player, lane, source, onEnlarge) {
  const items = player.items.filter((i) => i.part.participant === lane.identity && i.part.source === source);
  const title = () => (source === 'screen' ? t('tile.screen', { name: lane.name }) : lane.name);
  const note = h('p', { class: 'play-note', 'data-testid': 'play-note' });
  const picture = h('button', { type: 'button', class: 'play-picture', onclick: onEnlarge },
    h('span', { class: 'play-face', 'data-initials': initials(lane.name) }),
    ...items.map((i) => i.media));
  scope.attribute(picture, 'aria-label', () => t('playback.enlarge', { name: title() }));
  const role = h('span', { class: 'play-role' });
  scope.text(role, () => (source === 'cam' && hasWords(`role.${lane.role}`) ? t(`role.${lane.role}`) : ''));
  /** @type {HTMLElement} */
  const element = h('article', {
    class: 'play-tile', 'data-testid': 'play-tile', 'data-participant': lane.identity, 'data-source': source, 'data-hue': hue(lane.identity),
  }, picture, note,
    h('div', { class: 'play-bar' },
      h('h3', { class: 'play-name' }, scope.text(h('span'), title), role),
      source === 'cam' ? soundControls(scope, player, lane) : null,
      fullscreen(scope, title, () => element)));
  scope.attribute(element, 'aria-label', title);
  scope.effect(() => {
    const now = player.beat.value;
    const state = show(items, lane, source, now);
    element.dataset.state = state;
    element.hidden = source === 'screen' && !within(lane.parts.screen, now);
    element.toggleAttribute('data-speaks', source === 'cam' && heard(player, lane.identity) && loudness(lane, now) > 0.25);
    const words = sentence(items, state, now);
    if (note.textContent !== words) note.textContent = words;
  });
  return element;
}

/** @param {Player} player @param {string} identity */
function heard(player, identity) {
  return player.solo.value.size ? player.solo.value.has(identity) : !player.muted.value.has(identity);
}

/**
 * Shows the file of the moment and says what there is to see.
 * @param {Item[]} items @param {Lane} lane @param {'cam' | 'screen'} source @param {number} now
 * @returns {'picture' | 'off' | 'absent' | 'fault' | 'none'}
 */
function show(items, lane, source, now) {
  const off = source === 'cam' && within(lane.muted.cam, now);
  let state = /** @type {'off' | 'absent' | 'none' | 'picture' | 'fault'} */ (within(lane.present, now) ? (items.length ? 'off' : 'none') : 'absent');
  for (const { part, media, fault } of items) {
    const on = now >= part.start && now < part.end && !off;
    media.classList.toggle('live', on && !fault.value);
    if (on) state = fault.value ? 'fault' : 'picture';
  }
  return state;
}

/** @param {Item[]} items @param {string} state @param {number} now */
function sentence(items, state, now) {
  if (state === 'picture') return '';
  const item = items.find((i) => now >= i.part.start && now < i.part.end);
  if (state === 'fault') {
    const fault = item?.fault.value || 'unplayable';
    return t(`playback.fault.${item?.part.sealed && fault === 'unplayable' ? 'sealed' : fault}`);
  }
  return t(`playback.tile.${state}`);
}

/** Mute, listen to alone, volume. @param {Scope} scope @param {Player} player @param {Lane} lane */
function soundControls(scope, player, lane) {
  if (lane.parts.mic.length === 0) return scope.text(h('span', { class: 'hint' }), 'playback.no_sound');
  const toggle = (/** @type {import('../lib/signal.js').Signal<ReadonlySet<string>>} */ set) => {
    const next = new Set(set.peek());
    if (!next.delete(lane.identity)) next.add(lane.identity);
    set.value = next;
  };
  const mute = h('button', { type: 'button', class: 'tool', 'data-testid': 'mute-one', onclick: () => toggle(player.muted) });
  scope.effect(() => {
    const on = player.muted.value.has(lane.identity);
    mute.replaceChildren(icon(on ? 'sound-off' : 'sound'));
    mute.setAttribute('aria-pressed', String(on));
    mute.setAttribute('aria-label', t('playback.mute', { name: lane.name }));
    mute.title = t('playback.mute', { name: lane.name });
  });
  const solo = h('button', { type: 'button', class: 'tool', 'data-testid': 'solo', onclick: () => toggle(player.solo) }, icon('solo'));
  scope.attribute(solo, 'aria-pressed', () => String(player.solo.value.has(lane.identity)));
  scope.attribute(solo, 'aria-label', () => t('playback.solo', { name: lane.name }));
  scope.attribute(solo, 'title', () => t('playback.solo', { name: lane.name }));
  const volume = h('input', { type: 'range', class: 'volume', min: '0', max: '100', step: '5', value: '100', 'data-testid': 'volume' });
  scope.attribute(volume, 'aria-label', () => t('playback.volume', { name: lane.name }));
  scope.listen(volume, 'input', () => {
    player.volumes.value = { ...player.volumes.peek(), [lane.identity]: volume.valueAsNumber / 100 };
  });
  return h('span', { class: 'play-sound' }, mute, solo, volume);
}

/** @param {Scope} scope @param {() => string} title @param {() => HTMLElement} element */
function fullscreen(scope, title, element) {
  if (!document.fullscreenEnabled) return null;
  const out = h('button', {
    type: 'button', class: 'tool', 'data-testid': 'fullscreen', onclick: () => {
      const done = document.fullscreenElement ? document.exitFullscreen() : element().requestFullscreen();
      done.catch(() => {}); // refused: it stays as it is
    },
  }, icon('fullscreen'));
  scope.attribute(out, 'aria-label', () => t('playback.fullscreen', { name: title() }));
  scope.attribute(out, 'title', () => t('playback.fullscreen', { name: title() }));
  return out;
}
