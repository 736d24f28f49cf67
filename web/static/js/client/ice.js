// @ts-check
// Watches that a connection comes up and stays up. Browsers wait 10 to 30 s,
// some for ever; we do not: without a connection relay_restart seconds after
// the answer ICE is restarted relay-only, VERDICT_AFTER later comes the verdict.
import { diagnoseConnection } from './diagnose.js';

const VERDICT_AFTER = 5; // seconds after the relay-only restart was due
const DISCONNECTED_GRACE = 3; // seconds of silence before a restart
const NEXT_ATTEMPT = 10; // seconds between attempts after a verdict
const FLOW_WINDOW = 1; // seconds over which bytes must arrive to count as flowing

/**
 * @typedef {object} IceHandlers
 * @property {number} relayRestart  seconds
 * @property {(stage: string, text: string, data?: Record<string, any>, code?: string) => void} onLog
 * @property {(code: string | null, stage: string) => void} onVerdict
 * @property {(policy: RTCIceTransportPolicy) => Promise<void>} restart
 */

export class IceWatch {
  /** @type {Set<number>} */ #timers = new Set();
  #pending = false; // an answer came and no connection since
  #verdict = false; // said to have failed
  #policy = /** @type {RTCIceTransportPolicy} */ ('all');
  #started = 0;
  /** @type {import('./diagnose.js').IceEvidence} */
  #evidence = { candidates: { host: 0, srflx: 0, prflx: 0, relay: 0 }, errors: [] };

  /** @param {RTCPeerConnection} pc @param {IceHandlers} handlers */
  constructor(pc, handlers) {
    this.pc = pc;
    this.handlers = handlers;
    pc.addEventListener('connectionstatechange', () => this.#changed());
    pc.addEventListener('iceconnectionstatechange', () => handlers.onLog('ice', `ice ${pc.iceConnectionState}`));
    pc.addEventListener('icegatheringstatechange', () => handlers.onLog('ice', `gathering ${pc.iceGatheringState}`));
    pc.addEventListener('icecandidate', ({ candidate }) => {
      const type = candidate?.type;
      if (type) this.#evidence.candidates[type]++;
    });
    pc.addEventListener('icecandidateerror', (e) => {
      const { errorCode, errorText, url } = e;
      if (this.#evidence.errors.length < 20) this.#evidence.errors.push({ code: errorCode, url });
      handlers.onLog('ice', 'candidate error', { error: errorCode, text: errorText, url });
    });
  }

  close() {
    this.#clear();
  }

  /** An answer was applied: the clock of this attempt starts, if it is one. */
  answered() {
    if (this.pc.connectionState === 'connected' || this.#pending) return;
    this.#pending = true;
    this.#started = performance.now();
    this.#after(this.handlers.relayRestart, () => this.#relayOnly());
    this.#after(this.handlers.relayRestart + VERDICT_AFTER, () => this.#judge());
  }

  /** The network has changed: look again now. */
  async networkChanged() {
    if (this.pc.connectionState === 'new' || this.#pending) return;
    if (!(await this.#flows())) this.#again('all', 'network changed');
  }

  #changed() {
    const state = this.pc.connectionState;
    this.handlers.onLog(this.pc.iceConnectionState === 'connected' ? 'dtls' : 'ice', `connection ${state}`);
    if (state === 'connected') this.#connected();
    else if (state === 'disconnected') this.#after(DISCONNECTED_GRACE - FLOW_WINDOW, () => this.#silent());
    else if (state === 'failed' && !this.#pending) this.#again('all', 'failed');
  }

  #connected() {
    if (this.#pending) {
      const seconds = (performance.now() - this.#started) / 1000;
      this.handlers.onLog('ice', 'connected', { seconds, policy: this.#policy, rescued: this.#policy === 'relay' });
    }
    this.#pending = false;
    this.#clear();
    this.#verdict = false;
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

  #judge() {
    if (this.pc.connectionState === 'connected') return;
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
    this.#pending = false;
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
