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
const DEAD_AFTER = 2; // seconds in which no feedback comes to what we publish before the path is given up
// Seconds that a restart gets before the path is dead again, twice as many each
// time. At first few: Firefox's first restart leads nowhere while it believes in
// a TCP connection on which nothing comes any more.
const RESTART_TIME = 1;
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
 * @property {(policy: RTCIceTransportPolicy, needed: () => Promise<boolean>) => Promise<void>} restart
 *   restarts ICE, if that is still needed when signalling has answered
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
  #restartTime = RESTART_TIME;
  #restarted = -Infinity; // when ICE was restarted last
  #look = 0;
  #over = false;
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

  /** The end, or no path will help any more: nothing is tried again. */
  close() {
    this.#over = true;
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
   * that tell nothing of a change of network notice it here first, and so they
   * do of a TCP connection that died alone, for which some wait half a minute.
   * A path on which nobody sends is doubted once.
   */
  async #listen() {
    const { bytes, publishes, relayed } = await this.#traffic();
    const now = performance.now();
    if (bytes !== this.#heard.bytes) { // fewer, after a restart
      this.#heard = { bytes, at: now };
      this.#doubted = false;
      this.#restartTime = RESTART_TIME;
      return;
    }
    if (this.#suspect()) return;
    const patience = this.#restarted < this.#heard.at ? DEAD_AFTER : this.#restartTime;
    if (publishes && !this.#pending && now - this.#heard.at > patience * 1000) {
      // Who needs the relay finds it sooner when nothing else is tried.
      this.#restartTime *= 2;
      this.#again(relayed ? 'relay' : 'all', 'no feedback', async () => (await this.#traffic()).bytes === bytes);
    } else if (!this.#doubted && now - this.#heard.at > QUIET_AFTER * 1000) {
      this.#doubted = true;
      this.handlers.onQuiet();
    }
  }

  /**
   * What came over all pairs, but for checks; whether we publish something (then
   * the server reports on it every second, muted or not); whether by the relay.
   */
  async #traffic() {
    let bytes = 0;
    let sent = 0;
    let relayed = false;
    const stats = await this.pc.getStats();
    for (const s of stats.values()) {
      if (s.type === 'outbound-rtp') sent += s.packetsSent ?? 0;
      if (s.type !== 'candidate-pair') continue;
      bytes += s.bytesReceived ?? 0;
      if (s.nominated && s.state === 'succeeded') relayed = stats.get(s.localCandidateId)?.candidateType === 'relay';
    }
    return { bytes, relayed, publishes: sent > 0 && this.pc.getSenders().some((s) => s.track) };
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
    if (stage === 'dtls') this.close();
    else this.#after(NEXT_ATTEMPT, () => this.#again('all', 'next attempt'));
  }

  /** @param {RTCIceTransportPolicy} policy @param {string} why @param {() => Promise<boolean>} [needed] */
  #again(policy, why, needed) {
    if (this.#over || this.pc.connectionState === 'closed') return;
    this.#clear();
    this.#pending = this.#doubted = false;
    this.#heard.at = performance.now(); // the new path gets its time
    this.#policy = policy;
    this.handlers.onLog('ice', 'restart', { why, policy, after_verdict: this.#verdict });
    this.#restart(needed);
  }

  #restart(needed = async () => true) {
    this.#restarted = performance.now(); // not before #heard.at
    this.handlers.restart(this.#policy, needed).catch((e) => this.handlers.onLog('ice', 'restart failed', { error: String(e) }));
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
