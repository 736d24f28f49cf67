// @ts-check
// One tile: a participant or a screen. Its picture is hidden until a frame of
// this very track has been decoded: a seat that changes hands never shows the
// last person's face under the next one's name.
import { h, icon, setAttribute } from '../lib/element.js';
import { t } from '../lib/i18n.js';
import { failureWords } from './failure.js';
import { hue, initials } from './parts.js';

/** @typedef {import('../client/roster.js').TileInfo} TileInfo */
/** @typedef {import('../client/failures.js').Failure} Failure */

const COVER = 0.7; // share of a camera's picture that must stay visible to crop it

export class Tile {
  #shown = ''; // id of the video track whose frames are on show or awaited
  #live = false;
  #since = 0;
  #generation = 0;

  /** @param {TileInfo} info @param {(track: string) => void} onFrame  a frame of this track is on show */
  constructor(info, onFrame) {
    this.info = info;
    this.onFrame = onFrame;
    this.video = h('video', { 'data-testid': 'tile-video', playsinline: true, autoplay: true });
    this.video.muted = true; // the sound has an element of its own
    this.name = h('span', { class: 'tile-name' });
    this.mark = h('span', { class: 'tile-mark' });
    this.face = h('div', { class: 'tile-face', 'aria-hidden': 'true' });
    this.note = h('div', { class: 'tile-note' });
    this.quality = h('span', { class: 'tile-quality', 'data-testid': 'tile-quality', hidden: true });
    this.element = h('article', { class: 'tile', 'data-testid': 'tile' },
      this.face, this.video, this.note, h('div', { class: 'tile-label' }, this.mark, this.name, this.quality));
    this.video.addEventListener('resize', () => this.#fit());
  }

  /**
   * @param {TileInfo} info
   * @param {(mid: string) => MediaStreamTrack | null} receive
   * @param {Failure[]} failures about this participant
   * @param {Failure | undefined} note  what could be better, about him
   */
  update(info, receive, failures, note) {
    this.info = info;
    const { participant, source, session } = info;
    const name = participant.name || participant.identity;
    this.#show(info, receive);
    this.name.textContent = source === 'screen' ? t('tile.screen', { name }) : name;
    this.face.textContent = initials(name);
    this.element.dataset.hue = String(hue(participant.identity));
    const micOff = source === 'cam' && (!info.audio || info.audio.muted);
    this.mark.replaceChildren(...(micOff ? [icon('mic-off')] : []));
    this.mark.title = micOff ? t('tile.muted') : '';
    setAttribute(this.element, 'data-participant', participant.identity);
    setAttribute(this.element, 'data-session', session);
    setAttribute(this.element, 'data-source', source);
    this.quality.hidden = !note;
    this.quality.textContent = note ? failureWords(note.code, false) : '';
    setAttribute(this.quality, 'data-code', note?.code ?? '');
    this.#say(failures);
  }

  /** @param {Failure[]} failures */
  #say(failures) {
    const state = this.#state(failures);
    setAttribute(this.element, 'data-state', state);
    const [failure] = failures;
    const number = failure?.incident ? t('failure.number', { incident: failure.incident }) : '';
    this.note.textContent = failure ? `${failureWords(failure.code, false)} ${number}`.trim() : noteFor(state);
    const words = [this.name.textContent, this.mark.title, this.note.textContent].filter(Boolean);
    setAttribute(this.element, 'aria-label', words.join(', '));
  }

  /** @param {Failure[]} failures */
  #state(failures) {
    const { participant, video } = this.info;
    if (participant.state === 'reconnecting') return 'reconnecting';
    if (failures.length) return 'failed';
    if (!video || video.muted) return 'off';
    if (video.state === 'stalled') return 'stalled';
    return this.#live ? 'live' : 'connecting';
  }

  /** @param {TileInfo} info @param {(mid: string) => MediaStreamTrack | null} receive */
  #show({ video, seat }, receive) {
    const seated = video && !video.muted && seat?.video_track === video.id ? video.id : '';
    const track = seated && seat ? receive(seat.video) : null;
    const playing = /** @type {MediaStream | null} */ (this.video.srcObject)?.getVideoTracks()[0] ?? null;
    if (seated === this.#shown && playing === track) return;
    this.#shown = track ? seated : '';
    this.#live = false;
    this.#since = performance.now();
    this.video.classList.remove('live');
    this.video.srcObject = track ? new MediaStream([track]) : null;
    if (track) this.#await(++this.#generation);
  }

  /** Waits for a frame that was received after the seat changed hands. @param {number} generation */
  #await(generation) {
    const arrived = () => {
      if (generation !== this.#generation) return;
      this.#live = true;
      this.onFrame(this.#shown);
      this.video.classList.add('live');
      this.#fit();
      this.#say([]);
    };
    if (!('requestVideoFrameCallback' in HTMLVideoElement.prototype)) {
      this.video.addEventListener('timeupdate', arrived, { once: true });
      return;
    }
    const look = (/** @type {number} */ _now, /** @type {VideoFrameCallbackMetadata} */ frame) => {
      if (generation !== this.#generation) return;
      if (frame.receiveTime !== undefined && frame.receiveTime < this.#since) this.video.requestVideoFrameCallback(look);
      else arrived();
    };
    this.video.requestVideoFrameCallback(look);
  }

  /** The picture of a camera may lose its edges to fill the tile, not more; a screen nothing. */
  #fit() {
    const picture = this.video.videoWidth / this.video.videoHeight;
    const tile = this.element.clientWidth / this.element.clientHeight;
    const shown = Math.min(picture / tile, tile / picture);
    this.video.classList.toggle('cover', this.info.source === 'cam' && shown >= COVER);
  }

  /** How large it is now, in device pixels; null without a picture. */
  size() {
    this.#fit();
    const { video } = this.info;
    if (!video) return null;
    const scale = globalThis.devicePixelRatio || 1;
    return {
      track: video.id,
      width: Math.round(this.element.clientWidth * scale),
      height: Math.round(this.element.clientHeight * scale),
    };
  }

  close() {
    this.#generation++;
    this.video.srcObject = null;
    this.element.remove();
  }
}

/** @param {string} state */
function noteFor(state) {
  return ['reconnecting', 'stalled', 'connecting'].includes(state) ? t(`tile.${state}`) : '';
}
