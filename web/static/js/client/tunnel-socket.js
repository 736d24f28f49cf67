// @ts-check
// The socket of media: GET /ws/media. One after the other, as long as the
// session of signalling lives.
import { decodeFrame, encodeFrame } from './tunnel-frame.js';
import { Flight } from './tunnel-flight.js';

const SUBPROTOCOL = 'consilium.media.v1';
const BACKOFF = [0.2, 0.5, 1, 2, 4]; // seconds; then the last for ever
const OPEN_TIMEOUT = 5000; // ms from the attempt to the first word
const TELL_EVERY = 100; // ms between two "received"

/**
 * @typedef {object} Lines
 * @property {{source: import('./messages.js').Source, mid: string}[]} sources
 * @property {{audio?: string, video: string}[]} seats
 * @property {number} bitrate  the most we may send, bit/s
 */
/**
 * @typedef {object} TunnelSocketHandlers
 * @property {() => any} open  makes the body of the first message
 * @property {(lines: Lines, first: boolean) => void} onLines  first: of this socket
 * @property {(frame: import('./tunnel-frame.js').Frame) => void} onFrame
 * @property {(mid: string) => void} onKeyframe
 * @property {(why: string) => void} onLost  it comes back by itself
 * @property {(error: {code: string, message: string}) => void} onRefused
 */

export class TunnelSocket {
  /** @type {WebSocket | null} */ #socket = null;
  #flight = new Flight();
  #came = 0;
  #told = 0;
  #attempt = 0;
  #opened = false;
  #timer = 0;
  #tick = 0;
  #closed = false;

  /** @param {string} url @param {TunnelSocketHandlers} handlers */
  constructor(url, handlers) {
    this.url = url;
    this.handlers = handlers;
  }

  start() {
    this.#tick = setInterval(() => this.#tell(), TELL_EVERY);
    this.#open();
  }

  close() {
    this.#closed = true;
    clearInterval(this.#tick);
    this.#drop();
  }

  /** Comes back at once. */
  hurry() {
    if (!this.#closed && !this.#socket) this.#open();
  }

  /** How long frames are on their way to the server, ms; Infinity without a socket. */
  get age() {
    return this.#opened ? this.#flight.age(performance.now()) : Infinity;
  }

  /** @param {string} type @param {any} body */
  send(type, body) {
    if (this.#opened) this.#socket?.send(JSON.stringify({ type, body }));
  }

  /** @param {string} mid @param {number} codec @param {EncodedVideoChunk | EncodedAudioChunk} chunk */
  sendFrame(mid, codec, chunk) {
    if (!this.#opened || !this.#socket) return;
    const message = encodeFrame(mid, codec, chunk);
    this.#flight.add(message.byteLength, performance.now());
    this.#socket.send(message);
  }

  #open() {
    this.#drop();
    const socket = new WebSocket(this.url, SUBPROTOCOL);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#flight = new Flight();
    this.#came = this.#told = 0;
    this.#timer = setTimeout(() => this.#lost(socket, 'no answer', 0), OPEN_TIMEOUT);
    socket.onopen = () => socket.send(JSON.stringify({ type: 'open', body: this.handlers.open() }));
    socket.onmessage = ({ data }) => this.#receive(socket, data);
    socket.onclose = ({ code, reason }) => this.#lost(socket, `closed ${code} ${reason}`.trim(), 0);
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    this.#opened = false;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /** @param {WebSocket} socket @param {string} why @param {number} seconds 0: by back-off */
  #lost(socket, why, seconds) {
    if (socket !== this.#socket || this.#closed) return;
    this.#drop();
    this.handlers.onLost(why);
    const wait = seconds || (BACKOFF[this.#attempt] ?? BACKOFF[BACKOFF.length - 1]);
    this.#attempt++;
    this.#timer = setTimeout(() => this.#open(), wait * 1000);
  }

  /** @param {WebSocket} socket @param {string | ArrayBuffer} data */
  #receive(socket, data) {
    if (socket !== this.#socket) return;
    if (typeof data !== 'string') {
      this.#came += data.byteLength;
      const frame = decodeFrame(data);
      if (frame) this.handlers.onFrame(frame);
      return;
    }
    const { type, body } = JSON.parse(data);
    if (type === 'lines') {
      const first = !this.#opened;
      this.#opened = true;
      this.#attempt = 0;
      clearTimeout(this.#timer);
      this.handlers.onLines(body, first);
    } else if (type === 'keyframe') this.handlers.onKeyframe(body.mid);
    else if (type === 'received') this.#flight.received(body.bytes);
    else if (type === 'error') {
      this.handlers.onRefused(body);
      this.#lost(socket, body.code, body.retry || 5);
    }
  }

  /** Tells the server how much has come. */
  #tell() {
    if (this.#came === this.#told) return;
    this.#told = this.#came;
    this.send('received', { bytes: this.#came });
  }
}
