// @ts-check
// A call as the client sees it: who is there, what arrives from whom, what
// goes wrong. Everything readable is a signal; nothing here touches the page.
import { signal } from '../lib/signal.js';
import { Connection, isFailureCode } from './protocol.js';
import { Failures } from './failures.js';
import { learnIncidents } from './incidents.js';
import { Peer } from './peer.js';
import { Roster } from './roster.js';
import { tunnelProblem } from './tunnel-support.js';

/** @typedef {import('./messages.js').Welcome} Welcome */
/** @typedef {import('./messages.js').Consent} Consent */
/** @typedef {'idle' | 'connecting' | 'waiting' | 'joined' | 'ended' | 'refused'} Phase */

const LEAVE_PATIENCE = 800; // ms to wait for the last word of the server

// Codes that the state of the connection raises and clears.
const ROUTE_CODES = ['NO_ROUTE', 'NO_CANDIDATES', 'DTLS_FAILED', 'TURN_AUTH'];
// Sockets that may fail in a row, half a minute, while a server restarts.
const RESTART_PATIENCE = 9;
const SOCKET_CODES = ['SIGNAL_LOST', 'CERT_UNTRUSTED', 'SERVER_BUSY', 'SERVER_RESTART', 'RECORDER_FAILED'];

/**
 * @typedef {object} CallOptions
 * @property {string} url  of GET /ws
 * @property {string} token
 * @property {string} room  of the page's address
 * @property {string} rejoin  secret kept from before a reload, or ""
 * @property {Consent | undefined} consent
 * @property {import('./messages.js').ClientInfo} client
 * @property {import('./local.js').LocalMedia} local
 * @property {import('./log.js').ClientLog} log
 * @property {() => boolean} hidden  whether the page is in the background
 * @property {string} [after]  code with which the server ended the last session, to come back soon
 * @property {boolean} tunnelled  only HTTP got through the last time: begin with that
 * @property {(tunnelled: boolean) => void} onTunnelled  keep it for a reload
 * @property {(secret: string | null) => void} onSecret  keep it for a reload; null: forget it
 */

export class Call {
  phase = signal(/** @type {Phase} */ ('idle'));
  me = signal(/** @type {Welcome | null} */ (null));
  socket = signal({ state: /** @type {import('./protocol.js').SocketState} */ ('connecting'), attempt: 0 });
  media = signal(/** @type {RTCPeerConnectionState} */ ('new'));
  recording = signal(/** @type {import('./messages.js').RecordingBody} */ ({ on: false }));
  /** What is wrong with the recording in mid-call. */
  recordingAlarm = signal(/** @type {import('./messages.js').RecordingBody | null} */ (null));
  ended = signal(/** @type {import('./messages.js').Ended | null} */ (null));
  refused = signal(/** @type {import('./messages.js').ErrorBody | null} */ (null));
  failures = new Failures();
  roster = new Roster();

  /** Media goes through the WebSocket: nothing but HTTP gets through. */
  tunnelled = signal(false);

  /** @type {Peer | import('./tunnel.js').Tunnel | null} */ peer = null;
  #tunnelProblem = tunnelProblem();
  #entered = 0; // counts the peers that were begun
  #reportTimer = 0;
  /** Tracks of which a frame was shown. @type {Set<string>} */
  #framed = new Set();
  #verdict = '';

  /** @param {CallOptions} options */
  constructor(options) {
    this.options = options;
    this.tunnelled.value = options.tunnelled;
    this.connection = new Connection(options.url, options.rejoin, {
      hello: (rejoin) => this.#hello(rejoin),
      onWelcome: (w) => this.#welcome(w),
      onResumed: (r) => this.#resumed(r),
      onMessage: (type, body) => this.#message(type, body),
      onEnded: (e) => this.#finish(e),
      onRefused: (e) => this.#refuse(e),
      onState: (state, attempt) => this.#socketState(state, attempt),
      onDelayed: ({ code, incident }) => {
        learnIncidents({ [code]: incident });
        this.failures.add({ code, stage: 'socket' });
      },
      onLog: (text, data, code) => {
        options.log.add('socket', text, data, code);
        if (code) this.failures.add({ code, stage: 'socket' });
      },
    }, options.after ? RESTART_PATIENCE : undefined);
    if (options.after) this.failures.add({ code: options.after, stage: 'socket' });
  }

  join() {
    this.phase.value = 'connecting';
    this.connection.start();
  }

  /** Leaves; resolves when the server knows, or soon after. */
  async leave() {
    if (this.phase.peek() === 'ended') return;
    this.options.onSecret(null);
    this.connection.send('leave', {});
    await new Promise((resolve) => setTimeout(resolve, LEAVE_PATIENCE));
    if (this.phase.peek() !== 'ended') this.#finish({ reason: 'left' });
  }

  /** @param {string} grant */
  may(grant) {
    return this.me.value?.grants.includes(grant) ?? false;
  }

  /** @param {string} participant */
  admit(participant) {
    return this.connection.request('admit', { participant });
  }

  /** @param {string} participant */
  remove(participant) {
    return this.connection.request('remove', { participant });
  }

  /** @param {string} participant @param {import('./messages.js').Source} source */
  mute(participant, source) {
    return this.connection.request('mute', { participant, source });
  }

  endForAll() {
    this.options.onSecret(null);
    return this.connection.request('end', {});
  }

  /** A frame of a track was shown for the first time. @param {string} track */
  firstFrame(track) {
    if (this.#framed.has(track)) return;
    this.#framed.add(track);
    this.options.log.add('first_frame', 'first frame', { track });
  }

  /** @param {import('./messages.js').View[]} tracks */
  view(tracks) {
    this.connection.send('view', { tracks });
  }

  /** The server knows why the socket does not open. @param {string} code */
  explain(code) {
    if (this.socket.peek().state === 'open') return;
    this.failures.clear('SIGNAL_LOST');
    this.failures.add({ code, stage: 'socket' });
  }

  /** The network has changed or came back. */
  networkChanged() {
    this.connection.probe();
    this.peer?.networkChanged();
    this.options.onTunnelled(false); // another network: the next session tries every way
  }

  /** @param {import('./messages.js').Resumed} resumed */
  #resumed({ ice_servers }) {
    this.peer?.refresh(ice_servers);
    this.peer?.networkChanged();
  }

  /** @param {string} rejoin @returns {import('./messages.js').Hello} */
  #hello(rejoin) {
    const { token, room, consent, client } = this.options;
    return { token, room, client, ...(rejoin ? { rejoin } : {}), ...(consent ? { consent } : {}) };
  }

  /** @param {Welcome} welcome */
  #welcome(welcome) {
    this.options.onSecret(welcome.secret);
    this.options.log.deliverTo((entries) => this.connection.send('log', { entries }));
    this.me.value = welcome;
    this.recording.value = { on: welcome.recording };
    this.roster.reset(welcome.identity);
    this.#dropPeer();
    if (welcome.state === 'waiting') this.phase.value = 'waiting';
    else this.#enter();
  }

  /** @param {import('./messages.js').Admitted} admitted */
  #admitted({ secret }) {
    if (secret) {
      this.connection.rejoinWith(secret);
      this.options.onSecret(secret);
    }
    this.failures.clear('PEER_ABSENT');
    this.#enter();
  }

  /** In the call: media begins. */
  async #enter() {
    const welcome = this.me.peek();
    if (!welcome || this.peer) return;
    this.phase.value = 'joined';
    const entered = ++this.#entered;
    const peer = await this.#makePeer(welcome);
    if (entered !== this.#entered) { // meanwhile another session began, or all ended
      peer.close();
      return;
    }
    this.peer = peer;
    this.roster.receive = (mid) => peer.received(mid);
    await this.options.local.attach(peer);
    peer.start(welcome.grants.includes('subscribe'));
    const interval = welcome.limits.report_interval || 2;
    this.#reportTimer = setInterval(() => this.#report(), interval * 1000);
  }

  /** @param {Welcome} welcome */
  async #makePeer(welcome) {
    const handlers = {
      request: (/** @type {string} */ type, /** @type {any} */ body) => this.connection.request(type, body),
      send: (/** @type {string} */ type, /** @type {any} */ body) => this.connection.send(type, body),
      onLog: this.options.log.add.bind(this.options.log),
      onVerdict: (/** @type {string | null} */ code, /** @type {string} */ stage) => this.#connectionVerdict(code, stage),
      onState: (/** @type {RTCPeerConnectionState} */ state) => {
        this.media.value = state;
      },
      onOfferRefused: (/** @type {string} */ code) => this.#offerRefused(code),
      onQuiet: () => this.connection.probe(),
      onNoWay: () => this.#tunnel(),
      onLines: () => this.roster.seat([...this.roster.seats.peek()]),
    };
    this.tunnelled.value &&= welcome.limits.tunnel_after > 0 && !this.#tunnelProblem;
    if (!this.tunnelled.value) return new Peer(welcome, handlers);
    try {
      const { Tunnel } = await import('./tunnel.js');
      return await Tunnel.make(welcome, this.options.url, handlers);
    } catch (e) {
      this.#tunnelProblem = String(e);
      this.tunnelled.value = false;
      this.options.log.add('ice', 'tunnel failed', { error: this.#tunnelProblem });
      return new Peer(welcome, handlers);
    }
  }

  /**
   * No path was found while the socket lives: media follows it, in a session
   * that takes the place of this one.
   */
  #tunnel() {
    if (this.socket.peek().state !== 'open') return;
    const problem = this.#tunnelProblem;
    this.options.log.add('ice', problem ? 'only HTTP passes, and the browser can not use it' : 'media goes through the WebSocket', { problem });
    if (problem) return; // the verdict comes
    this.tunnelled.value = true;
    this.options.onTunnelled(true);
    this.connection.renew();
  }

  #dropPeer() {
    this.#entered++;
    clearInterval(this.#reportTimer);
    this.options.local.attach(null);
    this.peer?.close();
    this.peer = null;
    this.media.value = 'new';
  }

  async #report() {
    if (!this.peer) return;
    const report = await this.peer.collect(this.roster.tracksByMid(), this.options.hidden());
    if (this.connection.roundTrip) {
      report.stats = { ...report.stats, socket_ms: this.connection.roundTrip, clock_ms: this.connection.clockOffset };
    }
    if (this.phase.peek() === 'joined') this.connection.send('report', report);
  }

  /** @param {string} type @param {any} body */
  #message(type, body) {
    switch (type) {
      case 'admitted':
        this.#admitted(body);
        break;
      case 'state':
        this.#recording(body.recording);
        this.roster.replace(body.participants ?? []);
        break;
      case 'participant':
        this.roster.change(body);
        break;
      case 'participant_left':
        this.roster.leave(body.identity);
        this.failures.remove((f) => f.participant === body.identity);
        break;
      case 'seats':
        this.roster.seat(body.seats ?? []);
        this.peer?.addMissing(body);
        break;
      case 'recording':
        this.#recording(body);
        break;
      case 'event':
        this.#event(body);
        break;
      case 'muted':
        this.options.local.setMuted(body.source, true);
        this.roster.mutedBy.value = { ...body };
        break;
      default: // a later server may say more
    }
  }

  /** @param {import('./messages.js').RecordingBody} body */
  #recording(body) {
    const begun = this.media.peek() === 'connected'; // before, nobody is in the call who could be alarmed
    this.recording.value = body;
    this.recordingAlarm.value = body.code && (body.on || begun) ? body : null;
    this.failures.clear('RECORDER_FAILED', 'DISK_FULL');
    if (body.code && !this.recordingAlarm.peek()) this.failures.add({ code: body.code, stage: 'flowing', incident: body.incident });
  }

  /** @param {import('./messages.js').EventBody} e */
  #event(e) {
    const own = e.participant === this.me.peek()?.identity;
    const participant = own ? '' : e.participant ?? '';
    if (own && e.code) {
      learnIncidents({ [e.code]: e.data?.incident });
      if (e.type === 'media.timeout') this.peer?.note(e.code);
    }
    switch (e.type) {
      case 'media.timeout':
      case 'participant.failed':
      case 'quality.poor':
        if (own && e.code === 'DTLS_FAILED' && this.peer instanceof Peer) this.peer.ice.close(); // another connection may help
        this.failures.add({
          code: e.code || 'UNKNOWN', stage: e.stage ?? '', participant, track: e.track ?? '',
          incident: String(e.data?.incident ?? ''),
        });
        break;
      case 'media.flowing':
      case 'media.resumed':
        this.failures.remove((f) => f.participant === participant && f.stage !== 'socket'
          && f.stage !== 'devices' && !['PEER_ABSENT', 'UDP_BLOCKED'].includes(f.code) && (!f.track || !e.track || f.track === e.track));
        break;
      case 'quality.recovered':
        this.failures.remove((f) => f.participant === participant && (f.code.endsWith('_WEAK') || f.code === 'UDP_BLOCKED'));
        break;
      default: // told by other messages too
    }
  }

  /** @param {import('./protocol.js').SocketState} state @param {number} attempt */
  #socketState(state, attempt) {
    this.socket.value = { state, attempt };
    if (state === 'open') this.failures.clear(...SOCKET_CODES);
  }

  /** @param {string | null} code @param {string} stage */
  #connectionVerdict(code, stage) {
    if (code && code === this.#verdict) return;
    this.#verdict = code ?? '';
    this.failures.clear(...ROUTE_CODES);
    if (!code) this.failures.remove((f) => f.participant === '' && f.stage === 'offer');
    if (!code) return;
    this.failures.add({ code, stage });
    this.peer?.note(code);
  }

  /** @param {string} code */
  #offerRefused(code) {
    this.failures.add({ code: isFailureCode(code) ? code : 'UNKNOWN', stage: 'offer' });
  }

  /** @param {import('./messages.js').Ended} ended */
  #finish(ended) {
    if (ended.retry) {
      this.ended.value = ended;
      this.#dropPeer();
      this.phase.value = 'ended';
      return; // the page comes back by itself with the secret it keeps
    }
    this.options.onSecret(null);
    this.#stop();
    this.ended.value = ended;
    this.phase.value = 'ended';
  }

  /** @param {import('./messages.js').ErrorBody} e */
  #refuse(e) {
    learnIncidents({ [e.code]: e.incident });
    this.options.onSecret(null);
    this.#stop();
    this.refused.value = e;
    this.phase.value = 'refused';
  }

  #stop() {
    this.connection.close();
    this.#dropPeer();
    this.options.log.deliverTo(null);
  }
}
