// @ts-check
// A frame message of consilium.media.v1; docs/reference/protocol.md has the table.

const VERSION = 1;
export const HEADER_BYTES = 16;
const FLAG_KEY = 1;
const LOW = 2 ** 32;

/** Numbers of codecs on the wire. */
export const CODECS = Object.freeze({ opus: 1, vp8: 2, vp9: 3, h264: 4 });

/**
 * @typedef {object} Frame
 * @property {string} mid
 * @property {number} codec  of CODECS
 * @property {boolean} key
 * @property {number} time  µs
 * @property {Uint8Array} payload
 */

/**
 * The message of an encoded chunk.
 * @param {string} mid @param {number} codec
 * @param {{type: string, timestamp: number, byteLength: number, copyTo: (to: Uint8Array) => void}} chunk
 */
export function encodeFrame(mid, codec, chunk) {
  const message = new Uint8Array(HEADER_BYTES + chunk.byteLength);
  const view = new DataView(message.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, codec);
  view.setUint8(2, chunk.type === 'key' ? FLAG_KEY : 0);
  view.setUint16(4, Number(mid));
  view.setUint32(8, Math.floor(chunk.timestamp / LOW));
  view.setUint32(12, chunk.timestamp % LOW);
  chunk.copyTo(message.subarray(HEADER_BYTES));
  return message;
}

/** @param {ArrayBuffer} message @returns {Frame | null} null: not a frame that we know */
export function decodeFrame(message) {
  if (message.byteLength <= HEADER_BYTES) return null;
  const view = new DataView(message);
  if (view.getUint8(0) !== VERSION) return null;
  return {
    mid: String(view.getUint16(4)),
    codec: view.getUint8(1),
    key: (view.getUint8(2) & FLAG_KEY) !== 0,
    time: view.getUint32(8) * LOW + view.getUint32(12),
    payload: new Uint8Array(message, HEADER_BYTES),
  };
}
