// @ts-check
// What an RTCPeerConnection is asked and what it says, for the call's log, in
// the words of the rtcstats file format (version 3): the journal is exported as
// such a file. Passwords never get into the log.
import { changed, selectedPair, snapshot } from './snapshot.js';

/** @typedef {(stage: string, text: string, data?: Record<string, any>, code?: string) => void} LogFn */

const STATS_INTERVAL = 10_000; // ms

// States of the connection: the event, the property, the stage it belongs to.
const STATES = /** @type {const} */ ([
  ['signalingstatechange', 'signalingState', 'offer', 'signalling'],
  ['iceconnectionstatechange', 'iceConnectionState', 'ice', 'ice'],
  ['icegatheringstatechange', 'iceGatheringState', 'ice', 'gathering'],
  ['connectionstatechange', 'connectionState', 'dtls', 'connection'],
]);

let connections = 0;

export class PeerTrace {
  #id = `PC_${connections++}`;
  #calls = 0;
  #timer = 0;
  /** What was said last, to say only what is new. @type {Record<string, string>} */
  #described = {};
  /** @type {import('./snapshot.js').Snapshot} */ #stats = {};
  #path = ''; // of the pair that was noted last

  /** @param {RTCPeerConnection} pc @param {RTCConfiguration} configuration @param {LogFn} log */
  constructor(pc, configuration, log) {
    this.pc = pc;
    this.log = log;
    this.#note('offer', 'create', withoutCredentials(configuration));
    this.#watchStates();
    this.#watchCandidates();
    for (const name of /** @type {const} */ (['createOffer', 'setLocalDescription', 'setRemoteDescription'])) this.#wrap(name);
    pc.addEventListener('track', ({ track }) => this.#note('offer', 'ontrack', { kind: track.kind, id: track.id }));
  }

  /** Takes down the statistics now. @param {string} [why] */
  async stats(why) {
    if (this.pc.signalingState === 'closed') return;
    const now = snapshot(await this.pc.getStats());
    const news = changed(this.#stats, now);
    this.#stats = now;
    this.#note('flowing', 'getStats', news, ...(why ? [why] : []));
    this.#pair(now);
  }

  /**
   * Notes which pair carries the media, whenever it is another: a browser may
   * answer with statistics from before it connected, and paths change.
   * @param {import('./snapshot.js').Snapshot} stats
   */
  #pair(stats) {
    const pair = selectedPair(stats);
    if (!pair) return;
    const path = JSON.stringify([pair.local, pair.remote]);
    if (path !== this.#path) this.log('ice', 'selected pair', { pair });
    this.#path = path;
  }

  close() {
    clearInterval(this.#timer);
    this.#note('flowing', 'close', null);
  }

  #watchStates() {
    const { pc } = this;
    for (const [type, property, stage, word] of STATES) {
      pc.addEventListener(type, () => {
        this.#say(stage, `${word} ${pc[property]}`, `on${type}`, pc[property]);
      });
    }
    pc.addEventListener('connectionstatechange', () => {
      const state = pc.connectionState;
      if (!['connected', 'failed'].includes(state)) return;
      this.stats(state);
      if (!this.#timer) this.#timer = setInterval(() => this.stats(), STATS_INTERVAL);
    });
  }

  #watchCandidates() {
    this.pc.addEventListener('icecandidate', ({ candidate }) => {
      this.#note('ice', 'onicecandidate', candidate && {
        candidate: candidate.candidate, sdpMid: candidate.sdpMid, sdpMLineIndex: candidate.sdpMLineIndex,
      });
    });
    this.pc.addEventListener('icecandidateerror', ({ errorCode, errorText, url, address, port }) => {
      this.#say('ice', 'candidate error', 'onicecandidateerror', { errorCode, errorText, url, address, port });
    });
  }

  /**
   * Notes the calls of a method of this connection and what comes of them.
   * @param {'createOffer' | 'setLocalDescription' | 'setRemoteDescription'} name
   */
  #wrap(name) {
    const { pc } = this;
    const original = /** @type {(argument: any) => Promise<any>} */ (pc[name]).bind(pc);
    Object.defineProperty(pc, name, {
      configurable: true,
      value: async (/** @type {any} */ argument) => {
        const call = `${name}-${this.#calls++}`;
        this.#note('offer', name, argument?.sdp ? this.#description(name, argument) : argument ?? null, call);
        try {
          const result = await original(argument);
          this.#note('offer', `${name}OnSuccess`, null, call);
          return result;
        } catch (e) {
          this.#note('offer', `${name}OnFailure`, String(e), call);
          throw e;
        }
      },
    });
  }

  /**
   * A description with what is new: a section that was the same the last time
   * is "m=" only, as the file format has it.
   * @param {string} name @param {RTCSessionDescriptionInit} description
   */
  #description(name, { type, sdp = '' }) {
    const key = `${name} ${type}`;
    const now = publicSdp(sdp);
    const before = sections(this.#described[key] ?? '');
    this.#described[key] = now;
    const text = sections(now).map((s, i) => (i > 0 && s === before[i] ? 'm=' : s)).join('\r\n');
    return { type, sdp: `${text}\r\n` };
  }

  /** @param {string} stage @param {string} method @param {unknown} value @param {...unknown} extra */
  #note(stage, method, value, ...extra) {
    this.#say(stage, method, method, value, ...extra);
  }

  /** @param {string} stage @param {string} text @param {string} method @param {unknown} value @param {...unknown} extra */
  #say(stage, text, method, value, ...extra) {
    this.log(stage, text, { rtc: [method, this.#id, value ?? null, ...extra] });
  }
}

/** @param {string} sdp */
function sections(sdp) {
  return sdp.split('\nm=').map((part, i) => (i ? `m=${part}` : part).trim());
}

/**
 * An SDP without the password of ICE, and without candidates: they are noted
 * one by one, and would make every description a new one.
 * @param {string} sdp
 */
export function publicSdp(sdp) {
  return sdp.replace(/^a=ice-pwd:.*$/gm, 'a=ice-pwd:-').replace(/^a=(candidate:|end-of-candidates).*\r?\n/gm, '');
}

/** @param {RTCConfiguration} configuration */
function withoutCredentials({ iceServers = [], ...rest }) {
  return { ...rest, iceServers: iceServers.map(({ urls }) => ({ urls })) };
}
