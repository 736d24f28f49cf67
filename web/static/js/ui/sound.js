// @ts-check
// The sound of the others. Each seat has an audio element of its own, outside
// the tiles: a browser starts an element that also waits for a picture only
// when the picture comes, and a person on another page of the grid must be
// heard. Lips stay in sync all the same, because the browser synchronises the
// tracks of one msid while decoding, not the elements.
import { h } from '../lib/element.js';
import { t } from '../lib/i18n.js';

/**
 * @param {import('../lib/scope.js').Scope} scope
 * @param {import('../client/call.js').Call} call
 * @param {import('../client/local.js').LocalMedia} local
 */
export function soundOutlet(scope, call, local) {
  /** @type {Map<string, HTMLAudioElement>} */
  const elements = new Map();
  const unlock = h('button', { type: 'button', class: 'unlock-sound', hidden: true, 'data-testid': 'unlock-sound', onclick: playAll });
  scope.text(unlock, () => t('sound.unlock'));
  const outlet = h('div', { class: 'sound' }, unlock);

  scope.effect(() => {
    const heard = call.roster.seats.value.filter((s) => s.audio !== '' && s.audio_track !== '');
    const ids = new Set(heard.map((s) => s.id));
    for (const [id, element] of elements) {
      if (ids.has(id)) continue;
      element.srcObject = null;
      element.remove();
      elements.delete(id);
    }
    for (const seat of heard) attach(seat.id, call.roster.receive(seat.audio));
  });
  scope.effect(() => {
    const { speaker } = local.choice.value;
    for (const element of elements.values()) useSpeaker(element, speaker);
  });
  scope.onStop(() => {
    for (const element of elements.values()) element.srcObject = null;
  });
  return outlet;

  /** @param {string} id @param {MediaStreamTrack | null} track */
  function attach(id, track) {
    if (!track) return;
    let element = elements.get(id);
    if (!element) {
      element = h('audio', { autoplay: true, 'data-testid': 'tile-audio', 'data-seat': id });
      elements.set(id, element);
      outlet.append(element);
      useSpeaker(element, local.choice.peek().speaker);
    }
    const playing = /** @type {MediaStream | null} */ (element.srcObject)?.getAudioTracks()[0];
    if (playing === track) return;
    element.srcObject = new MediaStream([track]);
    play(element);
  }

  /** @param {HTMLAudioElement} element */
  function play(element) {
    element.play().catch((e) => {
      if (e.name === 'NotAllowedError') unlock.hidden = false;
    });
  }

  function playAll() {
    unlock.hidden = true;
    for (const element of elements.values()) play(element);
  }
}

/** @param {HTMLAudioElement} element @param {string} id */
function useSpeaker(element, id) {
  if (id && 'setSinkId' in element) element.setSinkId(id).catch(() => {}); // gone: the default stays
}
