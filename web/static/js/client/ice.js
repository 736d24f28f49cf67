// @ts-check
// Watches that a connection comes up and stays up. Browsers wait 10 to 30 s,
// some for ever; we do not: without a connection relay_restart seconds after
// the answer ICE is restarted relay-only, VERDICT_AFTER later comes the verdict,
// before the server's own, which knows less.
import { diagnoseConnection } from './diagnose.js';

const VERDICT_AFTER = 4.3; // seconds after the relay-only restart was due
const DISCONNECTED_GRACE = 3; // seconds of silence before a restart
const NEXT_ATTEMPT = 10; // seconds between attempts after a verdict
const FLOW_WINDOW = 1; // seconds over which bytes must arrive to count as flowing
const QUIET_AFTER = 1.5; // seconds in which nothing comes before the path is doubted
const SUSPICION = 6; // seconds after a change of network in which a quiet path is given up
const QUIET_LOOK = 500; // ms
const CONNECTED = ['connected', 'completed'];

/**
 * @typedef {object} IceHandlers
 * @property {number} relayRestart  seconds
 * @property {number} tunnelAfter  seconds; 0: never
 * @property {(stage: string, text: string, data?: Record<string, any>, code?: string) => void} onLog
 * @property {(code: string | null, stage: string) => void} onVerdict
 * @property {() => void} onQuiet  nothing comes any more: is the network still there?
 * @property {(policy: RTCIceTransportPolicy) => Promise<void>} restart
 * @property {() => void} onNoWay  not connected after tunnelAfter: only HTTP may get through
 */

export class IceWatch {
  /** @type {Set<number>} */ #timers = new Set();
  #pending = false; // an answer came and no connection since
  #verdict = false; // said to have failed
  #policy = /** @type {RTCIceTransportPolicy} */ ('all');
  #started = 0;
  #heard = { bytes: 0, at: 0 }; // what came so far, and when it last grew
  #suspectUntil = 0;
  #doubted = false; // onQuiet was called since
  #look = 0;
  /** @type {import('./diagnose.js').IceEvidence} */
  #evidence = { candidates: { host: 0, srflx: 0, prflx: 0, relay: 0 }, errors: [] };

  /** @param {RTCPeerConnection} pc @param {IceHandlers} handlers */
  constructor(pc, handlers) {
    this.pc = pc;
    this.handlers = handlers;
    pc.addEventListener('connectionstatechange', () => this.#changed());
    pc.addEventListener('icecandidate', ({ candidate }) => {
      const type = candidate?.type;
      if (type) this.#evidence.candidates[type]++;
    });
    pc.addEventListener('icecandidateerror', (e) => {
      const { errorCode, url } = e;
      if (this.#evidence.errors.length < 20) this.#evidence.errors.push({ code: errorCode, url });
    });
  }

  close() {
    this.#clear();
    clearInterval(this.#look);
  }

  /** An answer was applied: the clock of this attempt starts, if it is one. */
  answered() {
    if (this.pc.connectionState === 'connected' || this.#pending) return;
    this.#pending = true;
    this.#started = performance.now();
    const { relayRestart, tunnelAfter } = this.handlers;
    this.#after(relayRestart, () => this.#relayOnly());
    if (tunnelAfter) this.#after(tunnelAfter, () => this.#noWay());
    this.#after(relayRestart + VERDICT_AFTER, () => this.#judge());
  }

  /**
   * The network has changed, by what the browser says or because the socket was
   * dead and had to be replaced: a path that is quiet is given up at once. ICE
   * alone would take seconds to see it.
   */
  networkChanged() {
    this.#suspectUntil = performance.now() + SUSPICION * 1000;
    this.#suspect();
  }

  /** Restarts if the path is quiet and we know why. Says whether it did. */
  #suspect() {
    const now = performance.now();
    const quiet = now - this.#heard.at > QUIET_AFTER * 1000;
    if (!this.#look || this.#pending || !quiet || now > this.#suspectUntil) return false;
    this.#again('all', 'network changed');
    return true;
  }

  /**
   * Looks whether anything still comes: media, or feedback to ours. Browsers
   * that tell nothing of a change of network notice it here first. A path on
   * which nobody sends is doubted once.
   */
  async #listen() {
    const bytes = await this.#arrived();
    if (bytes !== this.#heard.bytes) { // fewer, after a restart
      this.#heard = { bytes, at: performance.now() };
      this.#doubted = false;
    } else if (!this.#suspect() && !this.#doubted && performance.now() - this.#heard.at > QUIET_AFTER * 1000) {
      this.#doubted = true;
      this.handlers.onQuiet();
    }
  }

  /** Bytes that came over all pairs, but for checks. */
  async #arrived() {
    let sum = 0;
    for (const s of (await this.pc.getStats()).values()) {
      if (s.type === 'candidate-pair') sum += s.bytesReceived ?? 0;
    }
    return sum;
  }

  #changed() {
    const state = this.pc.connectionState;
    if (state === 'connected') this.#connected();
    else if (state === 'disconnected') this.#after(DISCONNECTED_GRACE - FLOW_WINDOW, () => this.#silent());
    else if (state !== 'failed') return;
    else if (!this.#pending) this.#again('all', 'failed');
    else if (CONNECTED.includes(this.pc.iceConnectionState)) this.#judge(); // of DTLS: no path will help
  }

  #connected() {
    if (this.#pending) {
      const seconds = (performance.now() - this.#started) / 1000;
      this.handlers.onLog('ice', 'connected', { seconds, policy: this.#policy, rescued: this.#policy === 'relay' });
    }
    this.#pending = false;
    this.#clear();
    this.#verdict = false;
    this.#look ||= setInterval(() => this.#listen(), QUIET_LOOK);
    this.handlers.onVerdict(null, 'ice');
  }

  /** Disconnected for a while: a restart only if really nothing arrives. */
  async #silent() {
    if (this.pc.connectionState !== 'disconnected' || this.#pending) return;
    if (await this.#flows()) this.#after(DISCONNECTED_GRACE, () => this.#silent());
    else if (this.pc.connectionState === 'disconnected') this.#again('all', 'silent');
  }

  #relayOnly() {
    if (this.pc.connectionState === 'connected') return;
    this.#policy = 'relay';
    this.handlers.onLog('ice', 'restart relay-only', { connection: this.pc.connectionState });
    this.#restart();
  }

  #noWay() {
    if (this.pc.connectionState === 'connected') return;
    this.handlers.onLog('ice', 'no way but HTTP', { ...this.#evidence, ice: this.pc.iceConnectionState });
    this.handlers.onNoWay();
  }

  #judge() {
    if (this.pc.connectionState === 'connected') return;
    this.#clear();
    const { code, stage } = diagnoseConnection(this.pc, this.#evidence);
    this.#pending = false;
    this.#verdict = true;
    this.handlers.onLog(stage, 'not connected', { ...this.#evidence, ice: this.pc.iceConnectionState }, code);
    this.handlers.onVerdict(code, stage);
    this.#after(NEXT_ATTEMPT, () => this.#again('all', 'next attempt'));
  }

  /** @param {RTCIceTransportPolicy} policy @param {string} why */
  #again(policy, why) {
    if (this.pc.connectionState === 'closed') return;
    this.#clear();
    this.#pending = this.#doubted = false;
    this.#heard.at = performance.now(); // the new path gets its time
    this.#policy = policy;
    this.handlers.onLog('ice', 'restart', { why, policy, after_verdict: this.#verdict });
    this.#restart();
  }

  #restart() {
    this.handlers.restart(this.#policy).catch((e) => this.handlers.onLog('ice', 'restart failed', { error: String(e) }));
  }

  /** Whether anything arrives. Restarting ICE then would cut it off. */
  async #flows() {
    const before = await this.#bytes();
    await new Promise((resolve) => setTimeout(resolve, FLOW_WINDOW * 1000));
    return (await this.#bytes()) > before;
  }

  async #bytes() {
    let sum = 0;
    for (const s of (await this.pc.getStats()).values()) {
      if (s.type === 'inbound-rtp') sum += s.bytesReceived ?? 0;
    }
    return sum;
  }

  /** @param {number} seconds @param {() => void} fn */
  #after(seconds, fn) {
    const id = setTimeout(() => {
      this.#timers.delete(id);
      fn();
    }, seconds * 1000);
    this.#timers.add(id);
  }

  #clear() {
    for (const id of this.#timers) clearTimeout(id);
    this.#timers.clear();
  }
}
