// @ts-check
// The pictures: all of one size, or one of them large. A shared screen is large
// unless somebody wants it otherwise.
import { h } from '../lib/element.js';
import { t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { playbackTile, screenShown } from './playback-tile.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording-model.js').Recording} Recording */
/** @typedef {import('./playback-player.js').Player} Player */

/** @param {Scope} scope @param {Player} player @param {Recording} recording */
export function playbackStage(scope, player, recording) {
  // Which tile was asked to be large; "" is the page's choice, "-" none.
  const chosen = signal('');
  /** @type {Map<string, HTMLElement>} */
  const tiles = new Map();
  const stage = h('div', { class: 'play-stage', 'data-testid': 'play-stage' });
  for (const source of /** @type {const} */ (['screen', 'cam'])) {
    for (const lane of recording.lanes) {
      const of = (/** @type {import('../client/recording-model.js').Source} */ s) => lane.parts[s].length + lane.lost[s].length;
      if (source === 'screen' ? of('screen') === 0 : of('mic') + of('cam') === 0) continue;
      const key = `${source}:${lane.identity}`;
      tiles.set(key, playbackTile(scope, player, lane, source, () => {
        chosen.value = stage.dataset.large === key ? '-' : key;
      }));
    }
  }
  stage.append(...tiles.values());
  scope.effect(() => {
    const now = player.beat.value;
    const shared = recording.lanes.filter((l) => screenShown(l, now)).map((l) => `screen:${l.identity}`);
    let large = chosen.value;
    if (large === '') large = shared[0] ?? '-';
    if (large.startsWith('screen:') && !shared.includes(large)) large = '-';
    if (stage.dataset.large === large) return;
    stage.dataset.large = large;
    for (const [key, tile] of tiles) tile.classList.toggle('large', key === large);
  });
  stage.style.setProperty('--count', String([...tiles.keys()].filter((k) => k.startsWith('cam:')).length));
  const empty = scope.text(h('p', { class: 'notice', 'data-testid': 'nothing-to-play' }), () => t(recording.live ? 'playback.nothing_yet' : 'playback.nothing'));
  empty.hidden = recording.parts.length > 0;
  return h('section', { class: 'play-pictures' }, scope.text(h('h2', { class: 'visually-hidden' }), 'playback.pictures'), empty, stage);
}
