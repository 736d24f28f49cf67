// Unit tests of the parts of js/client/tunnel* that need no browser.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Flight } from '../static/js/client/tunnel-flight.js';
import { CODECS, HEADER_BYTES, decodeFrame, encodeFrame } from '../static/js/client/tunnel-frame.js';
import { tunnelProblem } from '../static/js/client/tunnel-support.js';

const chunk = (type, timestamp, bytes) => ({
  type, timestamp, byteLength: bytes.length, copyTo: (to) => to.set(bytes),
});

test('a frame message says what its chunk was, also of times beyond 32 bits', () => {
  const time = 1_795_422_684_208_647;
  const message = encodeFrame('7', CODECS.vp8, chunk('key', time, [1, 2, 3]));
  assert.equal(message.length, HEADER_BYTES + 3);
  assert.deepEqual([...message.subarray(0, 8)], [1, 2, 1, 0, 0, 7, 0, 0]);
  const frame = decodeFrame(message.buffer);
  assert.deepEqual({ ...frame, payload: [...frame.payload] }, { mid: '7', codec: CODECS.vp8, key: true, time, payload: [1, 2, 3] });
  assert.equal(decodeFrame(encodeFrame('7', CODECS.vp8, chunk('delta', 5, [1])).buffer).key, false);
});

test('what is not a frame of this version is left out', () => {
  assert.equal(decodeFrame(new ArrayBuffer(HEADER_BYTES)), null);
  assert.equal(decodeFrame(new Uint8Array(HEADER_BYTES + 1).fill(9).buffer), null);
});

test('the age of a flight is that of its oldest byte that has not arrived', () => {
  const flight = new Flight();
  assert.equal(flight.age(50), 0);
  flight.add(100, 1000);
  flight.add(100, 1500);
  assert.equal(flight.age(2000), 1000);
  flight.received(150);
  assert.equal(flight.age(2000), 500, 'half of the second frame is still out');
  flight.received(900); // more than was sent
  flight.received(10); // less than before
  assert.equal(flight.age(2000), 500);
  flight.received(200);
  assert.equal(flight.age(2000), 0);
});

test('a browser without one of the parts says which', () => {
  assert.match(tunnelProblem({ VideoEncoder: 1 }), /VideoDecoder.*AudioData/);
});
