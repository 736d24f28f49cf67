// @ts-check
// One participant's picture, or his screen: who it is, what is heard of him,
// and why there is no picture when there is none.
import { loudness } from '../client/recording-model.js';
import { DAMAGE } from '../client/recording-moments.js';
import { h, icon } from '../lib/element.js';
import { hasWords, t } from '../lib/i18n.js';
import { hue, initials } from './parts.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording-model.js').Lane} Lane */
/** @typedef {import('../client/recording-model.js').Span} Span */
/** @typedef {import('./playback-player.js').Player} Player */
/** @typedef {import('./playback-player.js').Item} Item */

/** @typedef {'picture' | 'fault' | 'off' | 'absent' | 'none' | 'no_picture' | 'failed' | 'locked' | 'live'} TileState */

const within = (/** @type {Span[]} */ spans, /** @type {number} */ ms) => spans.some((s) => ms >= s.start && ms < s.end);

/**
 * @param {Scope} scope @param {Player} player @param {Lane} lane @param {'cam' | 'screen'} source
 * @param {() => void} onEnlarge
 */
export function playbackTile(scope, player, lane, source, onEnlarge) {
  const items = player.items.filter((i) => i.part.participant === lane.identity && i.part.source === source);
  const sounds = player.items.filter((i) => i.part.participant === lane.identity && i.part.source === 'mic');
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
    element.hidden = source === 'screen' && !screenShown(lane, now);
    element.toggleAttribute('data-speaks', source === 'cam' && heard(player, lane.identity) && loudness(lane, now) > 0.25);
    const words = sentence(items, state, now) || (source === 'cam' ? soundSentence(sounds, lane, now) : '');
    if (note.textContent !== words) note.textContent = words;
  });
  return element;
}

/** Whether somebody shows his screen. @param {Lane} lane @param {number} now */
export function screenShown(lane, now) {
  return within(lane.parts.screen, now) || within(lane.lost.screen, now);
}

/** @param {Player} player @param {string} identity */
function heard(player, identity) {
  return player.solo.value.size ? player.solo.value.has(identity) : !player.muted.value.has(identity);
}

/**
 * Shows the file of the moment and says what there is to see.
 * @param {Item[]} items @param {Lane} lane @param {'cam' | 'screen'} source @param {number} now
 * @returns {TileState}
 */
function show(items, lane, source, now) {
  const off = source === 'cam' && within(lane.muted.cam, now);
  let state = without(lane, source, now, off, items.length > 0);
  for (const { part, media, fault } of items) {
    const on = now >= part.start && now < part.end && !off;
    media.classList.toggle('live', on && !fault.value);
    if (on) state = fault.value ? 'fault' : 'picture';
  }
  return state;
}

/**
 * What a tile without a picture stands for.
 * @param {Lane} lane @param {'cam' | 'screen'} source @param {number} now @param {boolean} off @param {boolean} ever
 * @returns {TileState}
 */
function without(lane, source, now, off, ever) {
  if (!within(lane.present, now)) return 'absent';
  if (off) return 'off';
  const lost = lane.lost[source].find((s) => now >= s.start && now < s.end);
  if (lost) return lost.state === 'locked' || lost.state === 'live' ? lost.state : 'failed';
  return ever || lane.lost[source].length ? 'no_picture' : 'none';
}

/** What of the item at a moment is not as it was sent, in words. @param {Item[]} items @param {number} now */
function trouble(items, now) {
  const item = items.find((i) => now >= i.part.start && now < i.part.end);
  if (item?.fault.value) return t(`playback.fault.${item.fault.value}`);
  const gap = item?.part.gaps.find((g) => now >= g.start && now < g.end && DAMAGE.includes(g.reason));
  return gap ? t(`playback.gap.${gap.reason}`, { source: t(`playback.source.${item?.part.source}`) }) : '';
}

/** @param {Item[]} items @param {string} state @param {number} now */
function sentence(items, state, now) {
  return state === 'picture' || state === 'fault' ? trouble(items, now) : t(`playback.tile.${state}`);
}

/** What is wrong with the sound while the picture is fine. @param {Item[]} sounds @param {Lane} lane @param {number} now */
function soundSentence(sounds, lane, now) {
  const lost = within(lane.lost.mic, now) && !sounds.some((i) => now >= i.part.start && now < i.part.end);
  return lost ? t('playback.tile.no_sound') : trouble(sounds, now);
}

/** Mute, listen to alone, volume. @param {Scope} scope @param {Player} player @param {Lane} lane */
function soundControls(scope, player, lane) {
  if (lane.parts.mic.length + lane.lost.mic.length === 0) return scope.text(h('span', { class: 'hint' }), 'playback.no_sound');
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
