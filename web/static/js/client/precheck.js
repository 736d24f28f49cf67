// @ts-check
// The self-test: everything a call needs, tried one after the other from this
// device against this server. It knows no page: checks are signals.
import { signal } from '../lib/signal.js';
import { diagnoseBrowser } from './diagnose.js';
import { SUBPROTOCOL } from './messages.js';
import { Probe } from './probe.js';
import { TunnelSocket } from './tunnel-socket.js';
import { tunnelProblem } from './tunnel-support.js';

/** @typedef {'page' | 'camera' | 'microphone' | 'socket' | 'udp' | 'tcp' | 'turn_udp' | 'turn_tcp' | 'turn_tls' | 'websocket' | 'media'} CheckName */
/**
 * @typedef {object} Check
 * @property {'waiting' | 'running' | 'ok' | 'failed' | 'skipped'} status
 * @property {string} [code]  why it failed
 * @property {Record<string, number>} [values]  ms, bitrate (bit/s), loss (0 to 1), rtt (ms)
 */
/** Incomplete: no way for media was tried. @typedef {{verdict: 'good' | 'limited' | 'failed' | 'incomplete', code: string}} Outcome */

/** In the order in which they are shown. @type {CheckName[]} */
export const CHECKS = ['page', 'camera', 'microphone', 'socket', 'udp', 'tcp', 'turn_udp', 'turn_tcp', 'turn_tls', 'websocket', 'media'];
/** Ways of WebRTC. @type {CheckName[]} */
const ICE_WAYS = ['udp', 'tcp', 'turn_udp', 'turn_tcp', 'turn_tls'];
/** Ways for media; one is enough. @type {CheckName[]} */
const WAYS = [...ICE_WAYS, 'websocket'];

const SOCKET_PATIENCE = 5; // seconds
const MEDIA_TIME = 5; // seconds of media that are measured
const SETTLE = 1.5; // seconds before measuring: the bandwidth estimate has to rise
const LOSS_LIMIT = 0.05; // above it people notice

export class Precheck {
  checks = /** @type {Record<CheckName, import('../lib/signal.js').Signal<Check>>} */ (
    Object.fromEntries(CHECKS.map((name) => [name, signal(/** @type {Check} */ ({ status: 'waiting' }))])));
  outcome = signal(/** @type {Outcome | null} */ (null));

  /**
   * @param {string} origin of the server
   * @param {string} token  join token; "": only what can be tried without one
   * @param {import('./local.js').LocalMedia} local
   */
  constructor(origin, token, local) {
    this.origin = origin;
    this.token = token;
    this.local = local;
  }

  /** Runs all checks; takes less than a minute. Does not throw. */
  async run() {
    this.outcome.value = null;
    for (const name of CHECKS) this.checks[name].value = { status: 'waiting' };
    const problem = diagnoseBrowser();
    this.#set('page', problem ? { status: 'failed', code: problem } : { status: 'ok' });
    if (problem) for (const name of CHECKS.slice(1)) this.#set(name, { status: 'skipped' });
    else {
      await this.#devices();
      await this.#socket();
      await this.#ways();
    }
    this.local.close();
    this.outcome.value = judge(this.results());
    await this.#tell();
  }

  /** @returns {Record<CheckName, Check>} */
  results() {
    return /** @type {any} */ (Object.fromEntries(CHECKS.map((name) => [name, this.checks[name].peek()])));
  }

  /** @param {CheckName} name @param {Check} check */
  #set(name, check) {
    this.checks[name].value = check;
  }

  async #devices() {
    this.#set('camera', { status: 'running' });
    this.#set('microphone', { status: 'running' });
    await this.local.open({ mic: true, cam: true });
    for (const [name, source] of /** @type {const} */ ([['camera', 'cam'], ['microphone', 'mic']])) {
      const { code } = this.local[source].peek();
      this.#set(name, code ? { status: 'failed', code } : { status: 'ok' });
    }
  }

  async #socket() {
    this.#set('socket', { status: 'running' });
    const url = new URL('/ws', this.origin);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const begun = performance.now();
    const socket = new WebSocket(url, SUBPROTOCOL);
    const opened = await new Promise((resolve) => {
      socket.onopen = () => resolve(true);
      socket.onclose = () => resolve(false);
      setTimeout(() => resolve(false), SOCKET_PATIENCE * 1000);
    });
    const ms = Math.round(performance.now() - begun);
    socket.onclose = null;
    socket.close();
    this.#set('socket', opened ? { status: 'ok', values: { ms } } : { status: 'failed', code: 'SIGNAL_LOST' });
  }

  async #ways() {
    const all = /** @type {CheckName[]} */ ([...WAYS, 'media']);
    if (!this.token) {
      for (const name of all) this.#set(name, { status: 'skipped' });
      return;
    }
    const place = await this.#post('/v1/precheck', {});
    const code = place.failed;
    if (code) {
      for (const name of all) this.#set(name, { status: 'failed', code });
      return;
    }
    const relays = await this.#relays(place.token);
    const try_ = (/** @type {CheckName} */ name, /** @type {import('./probe.js').Way | null} */ way) => this.#way(name, place, way);
    await Promise.all([
      this.#websocket(place.websocket),
      try_('udp', { direct: 'udp', relay: null }),
      try_('tcp', { direct: 'tcp', relay: null }),
      ...['turn_udp', 'turn_tcp', 'turn_tls'].map((name) => try_(/** @type {CheckName} */ (name), relays[name] ? { direct: '', relay: relays[name] } : null)),
    ]);
    await this.#media(place, relays);
  }

  /**
   * @param {CheckName} name @param {{room: string, token: string}} place
   * @param {import('./probe.js').Way | null} way  null: the server does not offer it
   */
  async #way(name, place, way) {
    if (!way) {
      this.#set(name, { status: 'skipped' });
      return;
    }
    this.#set(name, { status: 'running' });
    const probe = new Probe(this.origin, place, way);
    try {
      const ms = await probe.receive(name);
      const rtt = await roundTrip(probe.pc);
      this.#set(name, { status: 'ok', values: { ms, ...(rtt === null ? {} : { rtt }) } });
    } catch {
      this.#set(name, { status: 'failed', code: name === 'udp' ? 'UDP_BLOCKED' : 'NO_ROUTE' });
    }
    await probe.close();
  }

  /**
   * Media through the WebSocket: whether its socket opens and the server
   * answers on it. Without a session the answer is that there is none.
   * @param {boolean} offered
   */
  async #websocket(offered) {
    if (!offered) {
      this.#set('websocket', { status: 'skipped' });
      return;
    }
    const url = new URL('/ws/media', this.origin);
    this.#set('websocket', { status: 'running' });
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const begun = performance.now();
    const answered = await new Promise((resolve) => {
      const socket = new TunnelSocket(url.href, {
        open: () => ({ session: '', secret: '', sources: [], persons: 0, screens: 0 }),
        onRefused: ({ code }) => finish(code === 'session_unknown'),
        onLost: () => finish(false),
        onLines: () => {}, onFrame: () => {}, onKeyframe: () => {},
      });
      const finish = (/** @type {boolean} */ ok) => {
        socket.close();
        resolve(ok);
      };
      socket.start();
    });
    const ms = Math.round(performance.now() - begun);
    const ok = answered && !tunnelProblem();
    this.#set('websocket', ok ? { status: 'ok', values: { ms } } : { status: 'failed', code: answered ? 'BROWSER_OLD' : 'NO_ROUTE' });
  }

  /**
   * Sends what camera and microphone give and receives it again.
   * @param {{room: string, token: string, identity: string}} place @param {Record<string, import('./probe.js').Relay>} relays
   */
  async #media(place, relays) {
    const tracks = [this.local.mic.peek().track, this.local.cam.peek().track].filter((t) => t !== null);
    if (!tracks.length || !ICE_WAYS.some((name) => this.checks[name].peek().status === 'ok')) {
      this.#set('media', { status: 'skipped' });
      return;
    }
    this.#set('media', { status: 'running' });
    const relay = relays[ICE_WAYS.find((name) => this.checks[name].peek().status === 'ok') ?? ''] ?? null;
    const out = new Probe(this.origin, place, { direct: '', relay });
    const back = new Probe(this.origin, place, { direct: '', relay });
    try {
      await Promise.all([out.send(tracks), back.receive(place.identity)]);
      await pause(SETTLE);
      const before = await received(back.pc);
      await pause(MEDIA_TIME);
      const after = await received(back.pc);
      const packets = after.packets - before.packets;
      const lost = Math.max(0, after.lost - before.lost);
      const bitrate = Math.round(((after.bytes - before.bytes) * 8) / MEDIA_TIME);
      const loss = packets + lost ? Number((lost / (packets + lost)).toFixed(4)) : 0;
      const rtt = (await roundTrip(out.pc)) ?? 0;
      this.#set('media', packets ? { status: 'ok', values: { bitrate, loss, rtt } } : { status: 'failed', code: 'NO_MEDIA_IN' });
    } catch {
      this.#set('media', { status: 'failed', code: 'NO_ROUTE' });
    }
    await Promise.all([out.close(), back.close()]);
  }

  /** @param {string} token @returns {Promise<Record<string, import('./probe.js').Relay>>} */
  async #relays(token) {
    const answer = await fetch(new URL('/v1/turn', this.origin), { headers: { Authorization: `Bearer ${token}` } }).catch(() => null);
    if (!answer?.ok) return {};
    const { username, password, uris } = await answer.json();
    /** @type {Record<string, import('./probe.js').Relay>} */
    const relays = {};
    for (const uri of /** @type {string[]} */ (uris)) {
      const name = uri.startsWith('turns:') ? 'turn_tls' : uri.startsWith('turn:') && (uri.includes('transport=tcp') ? 'turn_tcp' : 'turn_udp');
      if (!name) continue;
      relays[name] ??= { urls: [], username, credential: password };
      relays[name].urls.push(uri);
    }
    return relays;
  }

  /** The outcome goes to whoever invited us. */
  async #tell() {
    const outcome = this.outcome.peek();
    if (!this.token || !outcome) return;
    const checks = Object.fromEntries(Object.entries(this.results()).map(([name, { status, code, values }]) => [
      name, { status, ...(code ? { code } : {}), ...(values ? { values } : {}) },
    ]));
    await this.#post('/v1/diag', { precheck: { ...outcome, checks } });
  }

  /** @param {string} path @param {any} body @returns {Promise<any>} the answer, or {failed: code} */
  async #post(path, body) {
    try {
      const answer = await fetch(new URL(path, this.origin), {
        method: 'POST', body: JSON.stringify(body),
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${this.token}` },
      });
      const json = answer.status === 204 ? {} : await answer.json();
      if (answer.ok) return json;
      return { failed: /^[A-Z_]+$/.test(json.code) ? json.code : 'SERVER_BUSY' };
    } catch {
      return { failed: 'SIGNAL_LOST' };
    }
  }
}

/**
 * One way is enough for a call; the rest says how good it can be.
 * @param {Record<CheckName, Check>} checks
 * @returns {Outcome}
 */
export function judge(checks) {
  const failed = (/** @type {CheckName} */ name) => checks[name].status === 'failed';
  for (const name of /** @type {CheckName[]} */ (['page', 'socket', 'media'])) {
    if (failed(name)) return { verdict: 'failed', code: checks[name].code ?? 'UNKNOWN' };
  }
  if (WAYS.some(failed) && !WAYS.some((name) => checks[name].status === 'ok')) {
    const { code = 'UNKNOWN' } = checks.tcp;
    return { verdict: 'failed', code };
  }
  const missing = /** @type {CheckName[]} */ (['microphone', 'camera', 'udp']).find(failed);
  const code = missing ? checks[missing].code ?? 'UNKNOWN' : '';
  if (WAYS.every((name) => checks[name].status === 'skipped')) return { verdict: 'incomplete', code };
  if (missing) return { verdict: 'limited', code };
  if ((checks.media.values?.loss ?? 0) > LOSS_LIMIT) return { verdict: 'limited', code: 'DOWNLINK_WEAK' };
  return { verdict: 'good', code: '' };
}

/** @param {RTCPeerConnection} pc */
async function received(pc) {
  const sum = { bytes: 0, packets: 0, lost: 0 };
  for (const s of (await pc.getStats()).values()) {
    if (s.type !== 'inbound-rtp') continue;
    sum.bytes += s.bytesReceived ?? 0;
    sum.packets += s.packetsReceived ?? 0;
    sum.lost += s.packetsLost ?? 0;
  }
  return sum;
}

/** Of the path in use, ms; null where the browser does not say. @param {RTCPeerConnection} pc */
async function roundTrip(pc) {
  for (const s of (await pc.getStats()).values()) {
    if (s.type === 'candidate-pair' && s.nominated && s.currentRoundTripTime !== undefined) return Math.round(s.currentRoundTripTime * 1000);
  }
  return null;
}

/** @param {number} seconds */
function pause(seconds) {
  return new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
  });
}
