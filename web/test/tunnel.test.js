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

/** The jitter buffer of the audio thread, driven by hand. */
async function jitterBuffer() {
  const processors = {};
  Object.assign(globalThis, {
    sampleRate: 48000,
    AudioWorkletProcessor: class {
      port = { onmessage: null, said: [], postMessage(m) { this.said.push(m); } };
    },
    registerProcessor: (name, type) => { processors[name] = type; },
  });
  await import('../static/js/client/tunnel-worklet.js');
  const buffer = new (globalThis.jitterBufferType ??= processors['jitter-buffer'])();
  return {
    /** 20 ms of sound that was captured at ms; every sample says when. */
    take(ms) {
      const samples = Float32Array.from({ length: 960 }, (_, i) => ms + i / 48);
      buffer.port.onmessage({ data: { time: 5e6 + ms * 1000, samples } });
    },
    /** Plays so many ms and returns what was heard: when it was captured; 0 is silence. */
    play(ms) {
      const heard = [];
      for (let n = 0; n < ms * 48; n += 128) {
        const output = new Float32Array(128);
        buffer.process([], [[output]]);
        heard.push(...output);
      }
      return heard;
    },
    said: () => buffer.port.said.at(-1),
  };
}

/** Plays while a sender sends; calls back before each 20 ms. */
async function conversation(seconds, { late = (_ms) => 0, rate = 1 } = {}) {
  const b = await jitterBuffer();
  const arrivals = [];
  for (let ms = 20; ms < seconds * 1000; ms += 20) arrivals.push({ ms, at: ms + late(ms) });
  const delays = [];
  for (let now = 0; now < seconds * 1000; now += 8) {
    while (arrivals.length && arrivals[0].at <= now) b.take(arrivals.shift().ms);
    for (const captured of b.play(8 * rate).slice(-1)) if (captured > 0) delays.push(now + 8 - captured);
  }
  return { delays, said: b.said() };
}

test('sound begins when 80 ms of it are there, and has its order', async () => {
  const b = await jitterBuffer();
  for (const ms of [20, 40, 60]) b.take(ms);
  assert.ok(b.play(20).every((s) => s === 0), '60 ms are not enough');
  b.take(80);
  const heard = b.play(40).filter((s) => s > 0);
  assert.ok(heard[0] < 21 && heard.at(-1) > 55, `from ${heard[0]} to ${heard.at(-1)}`);
});

test('a frame that is missing is silence, and one that comes in time has its place', async () => {
  const b = await jitterBuffer();
  for (const ms of [20, 40, 80, 120, 60]) b.take(ms); // 100 is missing, 60 came late
  const heard = b.play(120);
  const at = (ms) => heard.filter((s) => s >= ms && s < ms + 20).length;
  assert.ok(at(60) > 900 && at(80) > 900);
  assert.ok(at(100) < 5);
});

test('a steady network costs little delay, and late sound costs more for a while', async () => {
  const steady = await conversation(10);
  assert.ok(steady.delays.at(-1) < 90, `${steady.delays.at(-1)} ms`);
  assert.equal(steady.said.underruns, 0);
  const shaky = await conversation(10, { late: (ms) => (ms % 1000 < 20 ? 150 : 0) });
  assert.ok(shaky.said.underruns > 0 && shaky.said.underruns < 10, `${shaky.said.underruns} underruns in 10 s`);
});

test('delay that is always left over is played away', async () => {
  // The first second comes 150 ms late, all that follows in time.
  const { delays } = await conversation(12, { late: (ms) => (ms < 1000 ? 150 : 0) });
  assert.ok(delays.at(-1) < 110, `${delays.at(-1)} ms after 12 s`);
});

test('a device too slow to play does not save up sound', async () => {
  const { said } = await conversation(20, { rate: 0.8 });
  assert.ok(said.buffered <= 0.46, `${said.buffered} s wait`);
});
