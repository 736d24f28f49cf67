// @ts-check
// What this person sends: microphone, camera, screen. Works before a call (the
// join page) and in it: attach() says where to publish.
import { signal } from '../lib/signal.js';
import { capture, captureBoth, captureScreen } from './devices.js';

/** @typedef {import('./messages.js').Source} Source */
/**
 * @typedef {object} LocalSource
 * @property {MediaStreamTrack | null} track
 * @property {boolean} muted  switched off by the person
 * @property {string | null} code  why there is no track
 */
/**
 * Where sources are published: the Peer, once there is one.
 * @typedef {object} Publisher
 * @property {(source: Source, track: MediaStreamTrack | null, muted: boolean) => Promise<void>} publish
 * @property {(source: Source) => Promise<void>} unpublish
 */
/** @typedef {(stage: string, text: string, data?: Record<string, any>, code?: string) => void} LogFn */

export class LocalMedia {
  mic = signal(/** @type {LocalSource} */ ({ track: null, muted: false, code: null }));
  cam = signal(/** @type {LocalSource} */ ({ track: null, muted: false, code: null }));
  screen = signal(/** @type {LocalSource} */ ({ track: null, muted: false, code: null }));
  /** Device ids, "" for the browser's choice; speaker too. */
  choice = signal({ mic: '', cam: '', speaker: '' });
  /** The microphone was taken away, by a phone call say. */
  interrupted = signal(false);
  /** @type {Publisher | null} */ #publisher = null;
  #allowed = { mic: true, cam: true };
  /** @type {import('./devices.js').Note} */
  #note = (method, value, call) => this.log('devices', method, { rtc: [method, null, value, call] });

  /**
   * @param {LogFn} log
   * @param {(source: 'mic' | 'cam') => boolean} [framed]  whether the site around the page keeps a device from it
   */
  constructor(log, framed = () => false) {
    this.log = log;
    this.framed = framed;
  }

  /**
   * Asks for camera and microphone at once.
   * @param {{mic: boolean, cam: boolean}} wanted
   */
  async open(wanted) {
    this.#allowed = wanted;
    const asked = performance.now();
    const { mic, cam } = await captureBoth(this.choice.peek(), wanted, this.#note);
    this.log('devices', 'devices answered', {
      ms: Math.round(performance.now() - asked), mic: mic.track !== null, cam: cam.track !== null,
    });
    await this.#set('mic', mic);
    await this.#set('cam', cam);
  }

  /** Once more, after a refusal or when nothing arrives. */
  async reopen() {
    await Promise.all([this.#recapture('mic'), this.#recapture('cam')]);
  }

  /** @param {Publisher | null} publisher */
  async attach(publisher) {
    this.#publisher = publisher;
    if (!publisher) return;
    for (const source of /** @type {Source[]} */ (['mic', 'cam', 'screen'])) await this.#announce(source);
  }

  /** @param {Source} source @param {boolean} muted */
  async setMuted(source, muted) {
    if (source === 'screen') {
      if (muted) await this.stopScreen();
      return;
    }
    const state = this[source];
    const { track } = state.peek();
    state.value = { ...state.peek(), muted };
    if (source === 'mic' && track) track.enabled = !muted;
    if (source === 'cam' && muted && track) {
      track.stop(); // the camera's light goes out
      state.value = { ...state.peek(), track: null };
    }
    if (!muted && (!track || source === 'cam')) await this.#recapture(source);
    else await this.#announce(source);
  }

  /** @param {'mic' | 'cam' | 'speaker'} kind @param {string} id */
  async choose(kind, id) {
    this.choice.value = { ...this.choice.peek(), [kind]: id };
    if (kind === 'speaker' || (kind === 'cam' && this.cam.peek().muted)) return;
    await this.#recapture(kind);
  }

  async startScreen() {
    const track = await captureScreen(this.#note);
    if (!track) return;
    track.addEventListener('ended', () => this.stopScreen());
    this.screen.value = { track, muted: false, code: null };
    await this.#announce('screen');
  }

  async stopScreen() {
    const { track } = this.screen.peek();
    if (!track) return;
    track.stop();
    this.screen.value = { track: null, muted: false, code: null };
    await this.#publisher?.unpublish('screen');
  }

  /** Stops every device. */
  close() {
    this.#publisher = null;
    for (const s of [this.mic, this.cam, this.screen]) {
      s.peek().track?.stop();
      s.value = { ...s.peek(), track: null };
    }
  }

  /** @param {'mic' | 'cam'} source */
  async #recapture(source) {
    if (!this.#allowed[source]) return;
    if (source === 'cam' && this.cam.peek().muted) return;
    // Some phones open one device at a time: the old one is let go first.
    this[source].peek().track?.stop();
    await this.#set(source, await capture(source, this.choice.peek()[source], this.#note));
  }

  /** @param {'mic' | 'cam'} source @param {import('./devices.js').Captured} captured */
  async #set(source, { track, code }) {
    const { muted } = this[source].peek();
    if (source === 'cam' && muted && track) {
      track.stop(); // switched off while it was being opened
      track = null;
    }
    if (code?.endsWith('_DENIED') && this.framed(source)) code = 'FRAME_POLICY';
    this[source].value = { track, muted, code };
    if (code) this.log('devices', `${source} not available`, {}, code);
    if (track) this.#watch(source, track, muted);
    await this.#announce(source);
  }

  /** @param {'mic' | 'cam'} source @param {MediaStreamTrack} track @param {boolean} muted */
  #watch(source, track, muted) {
    if (source === 'mic') {
      track.enabled = !muted;
      this.interrupted.value = false;
    }
    const current = () => this[source].peek().track === track;
    track.addEventListener('ended', () => {
      if (!current()) return;
      this.log('devices', `${source} ended`);
      this.#recapture(source); // unplugged: take what else there is
    });
    track.addEventListener('mute', () => {
      if (!current()) return;
      this.log('devices', `${source} muted by the system`);
      if (source === 'mic') this.interrupted.value = true;
    });
    track.addEventListener('unmute', () => {
      if (!current()) return;
      this.log('devices', `${source} unmuted by the system`);
      if (source === 'mic') this.interrupted.value = false;
    });
  }

  /** Publishes a source as it is now. @param {Source} source */
  async #announce(source) {
    const publisher = this.#publisher;
    const { track, muted } = this[source].peek();
    if (!publisher) return;
    try {
      // A source that never had a track gets no m-line.
      if (track || muted) await publisher.publish(source, track, muted);
      else await publisher.unpublish(source);
    } catch (e) {
      this.log('offer', `publishing ${source} failed`, { error: String(e) });
    }
  }
}
