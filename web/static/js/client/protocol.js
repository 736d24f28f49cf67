// @ts-check
// One signalling session over as many sockets as it takes: hello, numbering,
// acknowledgement, resume, rejoin. Media goes on while the socket is away.
import { SUBPROTOCOL } from './messages.js';
import { Outbox } from './outbox.js';

/** @typedef {import('./messages.js').Envelope} Envelope */

const BACKOFF = [0.2, 0.5, 1, 2, 2, 4, 4, 8]; // seconds; then the last for ever
const OPEN_TIMEOUT = 5; // seconds from the attempt to the first answer
const PING_INTERVAL = 5;
const FIRST_PINGS = 6; // a second apart: a page that loads answers late, and its clock is judged by them
const SILENCE = 12; // seconds without a word from the server: the socket is dead
const PROBE = 1; // seconds that a socket in doubt has to answer
const ACK_DELAY = 0.3;
const LOST_AFTER = 3; // sockets lost in a row: now it is a failure

/** Failure codes are upper case, problem codes lower. @param {string} code */
export function isFailureCode(code) {
  return /^[A-Z_]+$/.test(code);
}

/** A request was refused, or its session is gone. */
export class RequestError extends Error {
  /** @param {string} code @param {string} message @param {number} [retry] seconds */
  constructor(code, message, retry = 0) {
    super(message);
    this.code = code;
    this.retry = retry;
  }
}

/**
 * @typedef {object} Handlers
 * @property {(rejoin: string) => import('./messages.js').Hello} hello  makes the first message
 * @property {(w: import('./messages.js').Welcome) => void} onWelcome  a session began, maybe not the first
 * @property {(r: import('./messages.js').Resumed) => void} onResumed  the same session goes on
 * @property {(type: string, body: any) => void} onMessage
 * @property {(s: import('./messages.js').Ended) => void} onEnded  the last message; nothing follows
 * @property {(e: import('./messages.js').ErrorBody) => void} onRefused  the session was refused; nothing follows
 * @property {(e: import('./messages.js').ErrorBody) => void} onDelayed  refused for now, with a failure code; it is tried again
 * @property {(state: SocketState, attempt: number) => void} onState
 * @property {(text: string, data?: Record<string, any>, code?: string) => void} onLog
 */
/** @typedef {'connecting' | 'open' | 'reconnecting' | 'closed'} SocketState */

export class Connection {
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {{session: string, secret: string} | null} */ #session = null;
  #rejoin;
  #outbox = new Outbox();
  #received = 0; // highest Seq of the server, in order
  #ackTimer = 0;
  #retryTimer = 0;
  #watch = 0;
  #heard = 0;
  #attempt = 0;
  #losses = 0; // sockets lost since one worked
  #closed = false;
  #messageBytes = Infinity; // the server takes no longer message

  /**
   * @param {string} url ws: or wss: URL of GET /ws
   * @param {string} rejoin secret of an earlier session, or ""
   * @param {Handlers} handlers
   * @param {number} [lostAfter] sockets lost in a row that are a failure
   */
  constructor(url, rejoin, handlers, lostAfter = LOST_AFTER) {
    this.lostAfter = lostAfter;
    this.url = url;
    this.handlers = handlers;
    this.#rejoin = rejoin;
    /** Server's clock minus ours, ms. */
    this.clockOffset = 0;
    /** Round trip of the last ping, ms; 0 before. */
    this.roundTrip = 0;
  }

  /** From now on another secret continues this session. @param {string} secret */
  rejoinWith(secret) {
    this.#rejoin = secret;
  }

  start() {
    this.handlers.onState('connecting', 0);
    this.#open();
  }

  /** Comes back at once: the network has changed, or the person asks. */
  hurry() {
    if (this.#closed || !this.#retryTimer) return;
    clearTimeout(this.#retryTimer);
    this.#open();
  }

  /** Joins anew at once, in the place of the session there is. */
  renew() {
    if (this.#closed) return;
    clearTimeout(this.#retryTimer);
    this.#session = null;
    this.#open();
  }

  /**
   * The network may have changed: a socket that does not answer at once is
   * replaced. Else it would seem to live until SILENCE, with the address that
   * the device no longer has.
   */
  probe() {
    this.hurry();
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return;
    const asked = performance.now();
    this.#raw({ type: 'ping', body: { time: Date.now() } });
    setTimeout(() => {
      if (this.#heard < asked) this.#lost(socket, 'no answer');
    }, PROBE * 1000);
  }

  /** Ends the session of this object: nothing is sent or received after it. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retryTimer);
    this.#drop();
    this.#outbox.reset(new RequestError('closed', 'the call is over'));
    this.handlers.onState('closed', 0);
  }

  /**
   * Sends a message that has no reply. It is kept until acknowledged.
   * @param {string} type @param {any} body
   */
  send(type, body) {
    this.#transmit(this.#outbox.add({ type, body }));
  }

  /**
   * Sends a request; it survives a change of socket.
   * @param {string} type @param {any} body
   * @returns {Promise<any>} body of the reply, or RequestError
   */
  request(type, body) {
    const { envelope, reply } = this.#outbox.request({ type, body });
    this.#transmit(envelope);
    return reply;
  }

  #open() {
    this.#drop();
    this.#retryTimer = 0;
    this.handlers.onLog('socket opening');
    const socket = new WebSocket(this.url, SUBPROTOCOL);
    this.#socket = socket;
    this.#heard = performance.now() + (OPEN_TIMEOUT - SILENCE) * 1000;
    let pinged = performance.now();
    let pings = 0;
    this.#watch = setInterval(() => {
      const now = performance.now();
      if (now - this.#heard > SILENCE * 1000) this.#lost(socket, 'silence');
      else if (socket.readyState === WebSocket.OPEN && now - pinged > (pings < FIRST_PINGS ? 1 : PING_INTERVAL) * 1000) {
        pinged = now;
        pings++;
        this.#raw({ type: 'ping', body: { time: Date.now() } });
      }
    }, 500);
    socket.onopen = () => this.#greet();
    socket.onmessage = (m) => this.#receive(socket, m.data);
    socket.onclose = (e) => this.#lost(socket, `closed ${e.code} ${e.reason}`.trim());
  }

  #greet() {
    const session = this.#session;
    if (session) this.#raw({ type: 'resume', body: { ...session, ack: this.#received } });
    else this.#raw({ type: 'hello', body: this.handlers.hello(this.#rejoin) });
  }

  #drop() {
    clearInterval(this.#watch);
    clearTimeout(this.#ackTimer);
    this.#ackTimer = 0;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** @param {WebSocket} socket @param {string} why */
  #lost(socket, why) {
    if (socket !== this.#socket || this.#closed) return;
    this.#drop();
    this.#later(why, 0);
  }

  /** @param {string} why @param {number} seconds 0: by back-off */
  #later(why, seconds) {
    const wait = seconds || (BACKOFF[this.#attempt] ?? BACKOFF[BACKOFF.length - 1]);
    this.#attempt++;
    // A server that asks for patience is not lost.
    const code = !seconds && ++this.#losses === this.lostAfter ? 'SIGNAL_LOST' : undefined;
    this.handlers.onLog('socket lost', { why, attempt: this.#attempt, wait }, code);
    this.handlers.onState('reconnecting', this.#attempt);
    this.#retryTimer = setTimeout(() => this.#open(), wait * 1000);
  }

  /** @param {Envelope} envelope */
  #transmit(envelope) {
    if (this.#session && this.#attempt === 0) this.#raw(envelope);
  }

  /** @param {Envelope} envelope */
  #raw(envelope) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    if (envelope.type !== 'hello' && envelope.type !== 'resume' && this.#received > 0) {
      envelope = { ...envelope, ack: this.#received };
      clearTimeout(this.#ackTimer);
      this.#ackTimer = 0;
    }
    this.#socket.send(JSON.stringify(envelope));
  }

  /** @param {WebSocket} socket @param {string} data */
  #receive(socket, data) {
    if (socket !== this.#socket) return;
    this.#heard = performance.now();
    /** @type {Envelope} */
    const message = JSON.parse(data);
    if (message.ack) this.#outbox.acknowledge(message.ack);
    if (!message.seq) {
      this.#control(message);
      return;
    }
    if (message.seq <= this.#received) return; // repeated
    if (message.seq > this.#received + 1) {
      this.#lost(socket, `gap: ${message.seq} after ${this.#received}`);
      return;
    }
    this.#received = message.seq;
    if (!this.#ackTimer) {
      this.#ackTimer = setTimeout(() => this.#raw({ type: 'ack', body: {} }), ACK_DELAY * 1000);
    }
    this.#deliver(message);
  }

  /** @param {Envelope} message */
  #deliver(message) {
    if (message.re) {
      const { type, body } = message;
      if (type !== 'error') this.#outbox.settle(message.re, body);
      else this.#outbox.fail(message.re, new RequestError(body.code, body.message, body.retry));
      return;
    }
    if (message.type === 'ended') {
      this.close();
      this.handlers.onEnded(message.body);
    } else if (message.type === 'error') this.#error(message.body);
    else this.handlers.onMessage(message.type, message.body);
  }

  /** @param {Envelope} message */
  #control(message) {
    switch (message.type) {
      case 'welcome':
        this.#begin(message.body);
        break;
      case 'resumed':
        this.#outbox.acknowledge(message.body.ack);
        this.#connected();
        this.handlers.onResumed(message.body);
        for (const e of this.#outbox.unacknowledged()) this.#raw(e);
        break;
      case 'pong':
        this.roundTrip = Date.now() - message.body.time;
        this.clockOffset = message.body.server - message.body.time - this.roundTrip / 2;
        break;
      case 'error':
        this.#error(message.body);
        break;
      case 'ended':
        this.close();
        this.handlers.onEnded(message.body);
        break;
      default: // an ack without more, or what a later server knows
    }
  }

  /** @param {import('./messages.js').Welcome} welcome */
  #begin(welcome) {
    this.#session = { session: welcome.session, secret: welcome.secret };
    this.#messageBytes = welcome.limits.message_bytes;
    this.#rejoin = welcome.secret;
    this.#received = 0;
    this.#outbox.reset(new RequestError('new_session', 'the session began anew'));
    this.#connected();
    this.handlers.onWelcome(welcome);
  }

  #connected() {
    this.#attempt = this.#losses = 0;
    this.handlers.onState('open', 0);
    this.handlers.onLog('socket open');
    // At once: the log that follows is placed by it on the server's clock.
    this.#raw({ type: 'ping', body: { time: Date.now() } });
  }

  /**
   * An error that answers no request. One that is not fatal is about a message
   * nobody waits for, or says why the socket is about to close: we then resume.
   * @param {import('./messages.js').ErrorBody} e
   */
  #error(e) {
    if (e.fatal) {
      this.#refused(e);
      return;
    }
    this.handlers.onLog('message refused', { message: e.message, reason: e.code });
    if (e.code !== 'too_large') return;
    // It would come back with every resume.
    const dropped = this.#outbox.discardLonger(this.#messageBytes, new RequestError(e.code, e.message));
    this.handlers.onLog('messages discarded', { types: dropped.join(' ') });
  }

  /**
   * The server refused the session. Where it only does not know it any more,
   * or asks to come back later, we say hello again with our secret.
   * @param {import('./messages.js').ErrorBody} e
   */
  #refused(e) {
    // Without the code: the server has told everybody itself.
    this.handlers.onLog('refused', { message: e.message, reason: e.code });
    const again = e.code === 'session_unknown' || (this.#session !== null && e.code === 'sequence');
    if (again && this.#session) {
      this.#session = null;
      this.#drop();
      this.#open();
    } else if (e.retry) {
      if (isFailureCode(e.code)) this.handlers.onDelayed(e);
      this.#session = null;
      this.#drop();
      this.#later(e.code, e.retry);
    } else {
      this.close();
      this.handlers.onRefused(e);
    }
  }
}
