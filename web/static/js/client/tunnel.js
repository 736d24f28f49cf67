// @ts-check
// Media through the WebSocket: what takes the place of the Peer where only HTTP
// gets through. It is loaded when it is needed. docs/adr/0007 says why.
import { AudioLine, VideoLine } from './tunnel-play.js';
import { AudioSender, VideoSender } from './tunnel-send.js';
import { TunnelSocket } from './tunnel-socket.js';

/** @typedef {import('./messages.js').Source} Source */

// As in the first offer of a Peer.
const SPARE_PERSONS = 4;
const SPARE_SCREENS = 1;

/**
 * @typedef {object} TunnelHandlers
 * @property {(type: string, body: any) => Promise<any>} request  over signalling
 * @property {(stage: string, text: string, data?: Record<string, any>, code?: string) => void} onLog
 * @property {(code: string | null, stage: string) => void} onVerdict
 * @property {(state: RTCPeerConnectionState) => void} onState
 * @property {(code: string, message: string) => void} onOfferRefused
 * @property {() => void} onLines  there are more m-lines to receive on
 */
/**
 * @typedef {object} Sending
 * @property {MediaStreamTrack | null} track
 * @property {boolean} active
 * @property {boolean} muted
 * @property {string} mid  "" before the server has named it
 * @property {AudioSender | VideoSender | null} sender
 */

export class Tunnel {
  /** There is none. */ pc = null;
  /** @type {Map<Source, Sending>} */ #sending = new Map();
  /** @type {Map<string, AudioLine | VideoLine>} */ #receiving = new Map();
  #persons = 0;
  #screens = 0;
  #started = 0;
  #epoch = 0; // µs
  #closed = false;

  /**
   * Loads what runs on the audio thread.
   * @param {import('./messages.js').Welcome} welcome
   * @param {string} url  of GET /ws
   * @param {TunnelHandlers} handlers
   */
  static async make(welcome, url, handlers) {
    const context = new AudioContext({ latencyHint: 'interactive' });
    await context.audioWorklet.addModule(new URL('./tunnel-worklet.js', import.meta.url));
    return new Tunnel(context, welcome, url, handlers);
  }

  /**
   * @param {AudioContext} context
   * @param {import('./messages.js').Welcome} welcome
   * @param {string} url
   * @param {TunnelHandlers} handlers
   */
  constructor(context, { session, secret }, url, handlers) {
    this.context = context;
    this.handlers = handlers;
    this.socket = new TunnelSocket(`${url}/media`, {
      open: () => ({ session, secret, ...this.#wanted() }),
      onLines: (lines, first) => this.#lines(lines, first),
      onFrame: (frame) => this.#take(frame),
      onKeyframe: (mid) => this.#keyframe(mid),
      onLost: (why) => {
        handlers.onLog('socket', 'media socket lost', { why });
        handlers.onState('disconnected');
      },
      onRefused: ({ code, message }) => {
        handlers.onLog('offer', 'media socket refused', { reason: code, message });
        handlers.onOfferRefused(code, message);
      },
    });
    // A page that plays before anybody has touched it may have to wait for that.
    this.resume = () => {
      if (context.state === 'suspended') context.resume().catch(() => {});
    };
    this.resume();
    for (const type of ['pointerdown', 'keydown']) addEventListener(type, this.resume);
  }

  close() {
    this.#closed = true;
    for (const type of ['pointerdown', 'keydown']) removeEventListener(type, this.resume);
    this.socket.close();
    for (const { sender } of this.#sending.values()) sender?.stop();
    for (const line of this.#receiving.values()) line.close();
    this.context.close().catch(() => {});
  }

  /** @param {boolean} subscribe */
  start(subscribe) {
    this.#started = performance.now();
    if (subscribe) [this.#persons, this.#screens] = [SPARE_PERSONS, SPARE_SCREENS];
    this.handlers.onState('connecting');
    this.socket.start();
  }

  /**
   * Sends a track as the source, or a muted source without one.
   * @param {Source} source @param {MediaStreamTrack | null} track @param {boolean} muted
   */
  async publish(source, track, muted) {
    const known = this.#sending.get(source);
    const sending = known ?? { track, active: true, muted, mid: '', sender: null };
    Object.assign(sending, { track, active: true, muted });
    this.#sending.set(source, sending);
    if (sending.mid) await this.#announce(source, sending);
    else if (this.#started) this.socket.send('lines', this.#wanted());
  }

  /** @param {Source} source */
  async unpublish(source) {
    const sending = this.#sending.get(source);
    if (!sending) return;
    Object.assign(sending, { track: null, active: false });
    if (sending.mid) await this.#announce(source, sending);
  }

  /** There is no RTCRtpSender. */
  sender() {
    return null;
  }

  /** @param {Source} source @param {Sending} sending */
  async #announce(source, { mid, track, active, muted, sender }) {
    sender?.replace(muted ? null : track);
    await this.handlers.request('publish', { mid, source, active, muted });
  }

  #wanted() {
    const sources = [...this.#sending].map(([source, { active, muted }]) => ({ source, active, muted }));
    return { sources, persons: this.#persons, screens: this.#screens };
  }

  /** The server has said which m-lines there are. @param {import('./tunnel-socket.js').Lines} lines @param {boolean} first */
  #lines({ sources, seats }, first) {
    if (this.#closed) return;
    for (const { source, mid } of sources) this.#send(source, mid, first);
    for (const { audio, video } of seats) this.#receive(audio ?? '', video);
    this.handlers.onLines();
    if (!first) return;
    const seconds = (performance.now() - this.#started) / 1000;
    this.handlers.onLog('ice', 'connected', { seconds, policy: 'websocket' });
    this.handlers.onState('connected');
    this.handlers.onVerdict(null, 'ice');
  }

  /** @param {Source} source @param {string} mid @param {boolean} anew  pictures begin with a keyframe */
  #send(source, mid, anew) {
    const sending = this.#sending.get(source);
    if (!sending) return;
    if (!sending.sender) {
      sending.mid = mid;
      sending.sender = source === 'mic' ? new AudioSender(this.context, this.socket, mid) : new VideoSender(this.socket, mid, source);
      sending.sender.replace(sending.muted ? null : sending.track);
    } else if (anew && sending.sender instanceof VideoSender) sending.sender.keyframe();
  }

  /** @param {string} audio @param {string} video */
  #receive(audio, video) {
    if (this.#receiving.has(video)) return;
    const sound = audio ? new AudioLine(this.context) : null;
    if (sound) this.#receiving.set(audio, sound);
    this.#receiving.set(video, new VideoLine(sound, () => this.socket.send('keyframe', { mid: video })));
  }

  /**
   * Times begin with the first frame: not every decoder keeps those since 1970.
   * @param {import('./tunnel-frame.js').Frame} frame
   */
  #take(frame) {
    this.#epoch ||= frame.time - 10e6;
    frame.time = Math.max(0, frame.time - this.#epoch);
    this.#receiving.get(frame.mid)?.take(frame);
  }

  /** @param {string} mid */
  #keyframe(mid) {
    for (const { mid: own, sender } of this.#sending.values()) {
      if (own === mid && sender instanceof VideoSender) sender.keyframe();
    }
  }

  /** @param {import('./messages.js').Seats} body */
  addMissing({ seats, missing_persons: persons, missing_screens: screens }) {
    const known = (seats ?? []).filter((s) => s.audio !== '').length;
    const more = [known + persons, (seats ?? []).length - known + screens];
    if (more[0] <= this.#persons && more[1] <= this.#screens) return;
    [this.#persons, this.#screens] = [Math.max(this.#persons, more[0]), Math.max(this.#screens, more[1])];
    this.socket.send('lines', this.#wanted());
  }

  /** @param {string} mid @returns {MediaStreamTrack | null} */
  received(mid) {
    return this.#receiving.get(mid)?.track ?? null;
  }

  /** As of a Peer. @param {string} [code] */
  note(code) {
    this.handlers.onLog('flowing', 'tunnel', { code, flight_ms: this.socket.age, audio: this.context.state });
  }

  /** Nothing of TURN is used. */
  refresh() {}

  networkChanged() {
    this.socket.hurry();
  }

  /**
   * As StatsReporter.collect.
   * @param {Map<string, string>} tracks track id by mid
   * @returns {Promise<import('./messages.js').Report>}
   */
  async collect(tracks) {
    /** @type {Record<string, import('./messages.js').Decoded>} */
    const decoded = {};
    /** @type {Record<string, number>} */
    const stats = { flight_ms: Math.min(this.socket.age, 1e6) };
    for (const [mid, track] of tracks) {
      const line = this.#receiving.get(mid);
      if (line instanceof VideoLine) decoded[track] = { frames: line.frames };
      else if (line) {
        decoded[track] = { samples: line.samples };
        stats.underruns = (stats.underruns ?? 0) + line.underruns;
        stats.buffered_ms = Math.max(stats.buffered_ms ?? 0, line.buffered * 1000);
      }
    }
    return { decoded, stats };
  }
}
