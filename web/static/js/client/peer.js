// @ts-check
// One RTCPeerConnection and its negotiation. The client always offers, the
// server always answers, one offer is in flight. M-lines are only ever added:
// none is stopped or made inactive. What an m-line carries is said by messages.
import { IceWatch } from './ice.js';
import { RequestError } from './protocol.js';
import { StatsReporter } from './stats.js';
import { PeerTrace } from './trace.js';
import { preferScreenQuality, encodingFor } from './encoding.js';

/** @typedef {import('./messages.js').Source} Source */
/** @typedef {import('./messages.js').Seat} Seat */

// Seats of the first offer, so that the first people need no second one.
const SPARE_PERSONS = 4;
const SPARE_SCREENS = 1;

/**
 * Receive-only m-lines that together show one participant or one screen.
 * @typedef {object} SeatLines
 * @property {RTCRtpTransceiver | null} audio  null for a screen
 * @property {RTCRtpTransceiver} video
 */

/**
 * @typedef {object} PeerHandlers
 * @property {(type: string, body: any) => Promise<any>} request  sends over signalling
 * @property {(type: string, body: any) => void} send
 * @property {(stage: string, text: string, data?: Record<string, any>, code?: string) => void} onLog
 * @property {(code: string | null, stage: string) => void} onVerdict  connection failed with a code, or works (null)
 * @property {(state: RTCPeerConnectionState) => void} onState
 * @property {() => void} onQuiet  nothing comes any more
 * @property {(code: string, message: string) => void} onOfferRefused
 * @property {() => void} onNoWay  it does not connect: see Tunnel
 */

/**
 * @typedef {object} Sending
 * @property {RTCRtpTransceiver} transceiver
 * @property {boolean} active  it carries the source, maybe muted
 * @property {boolean} muted
 */

export class Peer {
  /** @type {SeatLines[]} */ #seats = [];
  /** @type {Map<Source, Sending>} */ #sending = new Map();
  #started = false;
  #running = false;
  #wanted = false;
  #restart = false;
  #closed = false;
  #retryTimer = 0;
  #stats;

  /**
   * @param {import('./messages.js').Welcome} welcome
   * @param {PeerHandlers} handlers
   */
  constructor(welcome, handlers) {
    this.handlers = handlers;
    /** @type {RTCConfiguration} */
    const configuration = {
      iceServers: iceServers(welcome.ice_servers),
      bundlePolicy: 'max-bundle',
      rtcpMuxPolicy: 'require',
    };
    this.pc = new RTCPeerConnection(configuration);
    this.trace = new PeerTrace(this.pc, configuration, handlers.onLog);
    this.ice = new IceWatch(this.pc, {
      relayRestart: welcome.limits.relay_restart || 4.5,
      tunnelAfter: welcome.limits.tunnel_after,
      onNoWay: handlers.onNoWay,
      onLog: handlers.onLog,
      onVerdict: handlers.onVerdict,
      onQuiet: handlers.onQuiet,
      restart: (policy, needed) => this.#restartIce(policy, needed),
    });
    this.#stats = new StatsReporter(this.pc);
    this.pc.addEventListener('connectionstatechange', () => handlers.onState(this.pc.connectionState));
    this.pc.addEventListener('icecandidate', ({ candidate }) => {
      if (!candidate?.candidate) return;
      handlers.send('candidate', { candidate: candidate.candidate, mid: candidate.sdpMid ?? '' });
    });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.ice.close();
    this.trace.close();
    this.pc.close();
  }

  /**
   * Adds the spare seats and makes the first offer, with all that was published
   * before.
   * @param {boolean} subscribe
   */
  start(subscribe) {
    this.#started = true;
    if (subscribe) this.#addSeats(SPARE_PERSONS, SPARE_SCREENS);
    this.negotiate();
  }

  /**
   * Sends a track as the source, or a muted source without one. The first time
   * it adds an m-line; afterwards it only exchanges what the m-line carries.
   * @param {Source} source
   * @param {MediaStreamTrack | null} track
   * @param {boolean} muted
   */
  async publish(source, track, muted) {
    const sending = this.#sending.get(source);
    if (!sending) {
      const transceiver = this.pc.addTransceiver(track ?? (source === 'mic' ? 'audio' : 'video'), {
        direction: 'sendonly',
        sendEncodings: source === 'mic' ? undefined : [encodingFor(source)],
      });
      this.#sending.set(source, { transceiver, active: true, muted });
      if (source === 'screen') await preferScreenQuality(transceiver.sender);
      this.negotiate();
      return;
    }
    await sending.transceiver.sender.replaceTrack(track);
    Object.assign(sending, { active: true, muted });
    await this.#announce(source);
  }

  /** The m-line carries nothing any more. @param {Source} source */
  async unpublish(source) {
    const sending = this.#sending.get(source);
    if (!sending) return;
    await sending.transceiver.sender.replaceTrack(null);
    sending.active = false;
    await this.#announce(source);
  }

  /** @param {Source} source */
  sender(source) {
    return this.#sending.get(source)?.transceiver.sender ?? null;
  }

  /** @param {Source} source */
  async #announce(source) {
    const { transceiver, active, muted } = /** @type {Sending} */ (this.#sending.get(source));
    const { mid } = transceiver;
    if (mid === null) return; // the offer to come will say it
    await this.handlers.request('publish', { mid, source, active, muted });
  }

  /** @param {number} persons @param {number} screens */
  #addSeats(persons, screens) {
    /** @type {RTCRtpTransceiverInit} */
    const receive = { direction: 'recvonly' };
    for (let i = 0; i < persons; i++) {
      const audio = this.pc.addTransceiver('audio', receive);
      this.#seats.push({ audio, video: this.pc.addTransceiver('video', receive) });
    }
    for (let i = 0; i < screens; i++) {
      this.#seats.push({ audio: null, video: this.pc.addTransceiver('video', receive) });
    }
  }

  /**
   * The server lacks seats for somebody.
   * @param {import('./messages.js').Seats} body
   */
  addMissing({ seats, missing_persons: persons, missing_screens: screens }) {
    // Seats of ours that the server does not list are in an offer under way and
    // count. Whether the answer has come says nothing: the list may be older.
    const known = new Set((seats ?? []).map((s) => s.video));
    const pending = this.#seats.filter((s) => s.video.mid === null || !known.has(s.video.mid));
    const more = persons - pending.filter((s) => s.audio).length;
    const moreScreens = screens - pending.filter((s) => !s.audio).length;
    if (more <= 0 && moreScreens <= 0) return;
    this.#addSeats(Math.max(0, more), Math.max(0, moreScreens));
    this.negotiate();
  }

  /** The track that an m-line receives. @param {string} mid */
  received(mid) {
    return this.pc.getTransceivers().find((t) => mid !== '' && t.mid === mid)?.receiver.track ?? null;
  }

  /** Offers; one after the other, and once for all that is wanted meanwhile. */
  negotiate() {
    this.#wanted = true;
    if (this.#running || !this.#started) return;
    this.#running = true;
    this.#run().finally(() => {
      this.#running = false;
    });
  }

  async #run() {
    while (this.#wanted && !this.#closed) {
      this.#wanted = false;
      const restart = this.#restart;
      this.#restart = false;
      try {
        await this.#exchange(restart);
      } catch (e) {
        await this.#failed(e);
      }
    }
  }

  /** @param {boolean} iceRestart */
  async #exchange(iceRestart) {
    const { pc } = this;
    await pc.setLocalDescription(await pc.createOffer({ iceRestart }));
    const sdp = /** @type {RTCSessionDescription} */ (pc.localDescription).sdp;
    const answer = await this.handlers.request('offer', { sdp, ...this.#meaning() });
    if (this.#closed) return;
    await pc.setRemoteDescription({ type: 'answer', sdp: answer.sdp });
    this.ice.answered();
  }

  /** What the m-lines of the offer are for. */
  #meaning() {
    const tracks = [...this.#sending].filter(([, s]) => s.active)
      .map(([source, s]) => ({ mid: s.transceiver.mid ?? '', source, muted: s.muted }));
    const seats = this.#seats.map((s) => {
      const video = s.video.mid ?? '';
      return s.audio ? { audio: s.audio.mid ?? '', video } : { video };
    });
    return { tracks, seats };
  }

  /** @param {unknown} e */
  async #failed(e) {
    if (this.#closed) return;
    const code = e instanceof Error && 'code' in e ? String(e.code) : 'UNKNOWN';
    const message = e instanceof Error ? e.message : String(e);
    this.handlers.onLog('offer', 'offer failed', { reason: code, message });
    if (this.pc.signalingState === 'have-local-offer') await this.pc.setLocalDescription({ type: 'rollback' });
    if (code === 'closed' || code === 'new_session') return;
    this.handlers.onOfferRefused(code, message);
    const retry = e instanceof RequestError ? e.retry : 0;
    if (retry > 0) this.#retryTimer = setTimeout(() => this.negotiate(), retry * 1000);
  }

  /**
   * Restarts ICE with fresh TURN credentials, unless it is not needed any more
   * when the server has answered: what was quiet may have been the network.
   * @param {RTCIceTransportPolicy} policy @param {() => Promise<boolean>} needed
   */
  async #restartIce(policy, needed) {
    try {
      const { ice_servers } = await this.handlers.request('turn', {});
      this.#configure(ice_servers, policy);
    } catch {
      this.#configure(null, policy); // the credentials we have may still do
    }
    if (this.#closed || !(await needed())) return;
    this.#restart = true;
    this.negotiate();
  }

  /** @param {import('./messages.js').ICEServer[] | null} servers @param {RTCIceTransportPolicy} [policy] */
  #configure(servers, policy) {
    if (this.#closed) return;
    const now = this.pc.getConfiguration();
    this.pc.setConfiguration({
      ...now,
      iceServers: servers ? iceServers(servers) : now.iceServers,
      iceTransportPolicy: policy ?? now.iceTransportPolicy,
    });
  }

  /** The network has changed or came back. */
  networkChanged() {
    this.ice.networkChanged();
  }

  /**
   * What was decoded so far and what the connection measures.
   * @param {Map<string, string>} tracks track id by mid
   * @param {boolean} hidden
   */
  collect(tracks, hidden) {
    return this.#stats.collect(tracks, hidden);
  }

  /** Something failed: what the connection says of itself goes into the log. @param {string} [code] */
  note(code) {
    this.trace.stats(code);
  }

  /** Fresh credentials after a resume, for the next offer. @param {import('./messages.js').ICEServer[]} servers */
  refresh(servers) {
    if (servers?.length) this.#configure(servers);
  }
}

/** @param {import('./messages.js').ICEServer[]} servers @returns {RTCIceServer[]} */
function iceServers(servers) {
  return (servers ?? []).map(({ urls, username, credential }) => ({ urls, username, credential }));
}
