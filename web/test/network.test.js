// How the client notices that its network has changed: js/client/ice.js and
// js/client/protocol.js, with time and browser played by the test.
import assert from 'node:assert/strict';
import test from 'node:test';
import { IceWatch } from '../static/js/client/ice.js';
import { Connection } from '../static/js/client/protocol.js';

/** Plays time: timers and performance.now() stand still until step(). */
function clock(t) {
  let now = 0;
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.mock.method(performance, 'now', () => now);
  return async (ms) => {
    for (const end = now + ms; now < end;) {
      now += 100;
      t.mock.timers.tick(100);
      for (let i = 0; i < 10; i++) await Promise.resolve(); // what awaits a report goes on
    }
  };
}

/** A connection that is up, and on which bytes come while it flows. */
function connected() {
  const pc = Object.assign(new EventTarget(), {
    connectionState: 'connected', iceConnectionState: 'connected', bytes: 0, flowing: true, publishing: false,
    getSenders: () => (pc.publishing ? [{ track: {} }] : [{ track: null }]),
    async getStats() {
      if (pc.flowing) pc.bytes += 1000;
      return new Map([
        ['p', { type: 'candidate-pair', bytesReceived: pc.bytes }],
        ['o', { type: 'outbound-rtp', packetsSent: 1000 }],
      ]);
    },
  });
  const seen = { quiet: 0, restarts: [] };
  const watch = new IceWatch(pc, {
    relayRestart: 4.5, onLog() {}, onVerdict() {}, onQuiet: () => seen.quiet++,
    restart: async (policy, needed) => { if (await needed()) seen.restarts.push(policy); },
  });
  pc.dispatchEvent(new Event('connectionstatechange'));
  return { pc, watch, seen };
}

test('a path that falls quiet is doubted once, and not given up for that alone', async (t) => {
  const step = clock(t);
  const { pc, watch, seen } = connected();
  await step(3000);
  assert.equal(seen.quiet, 0, 'something comes');
  pc.flowing = false;
  await step(2500);
  assert.equal(seen.quiet, 1);
  await step(5000);
  assert.deepEqual(seen, { quiet: 1, restarts: [] });
  watch.close();
});

test('a path on which no feedback comes to what is published is given up', async (t) => {
  const step = clock(t);
  const { pc, watch, seen } = connected();
  pc.publishing = true;
  await step(3000);
  assert.deepEqual(seen, { quiet: 0, restarts: [] }, 'something comes');
  pc.flowing = false;
  await step(2100);
  assert.deepEqual(seen, { quiet: 1, restarts: [] }, 'the socket is asked first');
  await step(500);
  assert.deepEqual(seen.restarts, ['all']);
  await step(1500);
  assert.deepEqual(seen.restarts, ['all'], 'a restart gets its time');
  await step(1000);
  assert.deepEqual(seen.restarts, ['all', 'all']);
  await step(3500);
  assert.equal(seen.restarts.length, 2, 'the next one gets more');
  await step(1000);
  assert.equal(seen.restarts.length, 3);
  watch.close();
});

test('a path that flows again by the time that signalling answers is kept', async (t) => {
  const step = clock(t);
  const { pc, watch, seen } = connected();
  pc.publishing = true;
  const wanted = [];
  watch.handlers.restart = async (policy, needed) => { wanted.push(needed); };
  await step(2000);
  pc.flowing = false;
  await step(3500);
  assert.equal(wanted.length, 1);
  pc.flowing = true;
  assert.equal(await wanted[0](), false);
  assert.deepEqual(seen.restarts, []);
  watch.close();
});

test('a quiet path is given up when the network has changed', async (t) => {
  const step = clock(t);
  const { pc, watch, seen } = connected();
  await step(2000);
  pc.flowing = false;
  await step(2500);
  watch.networkChanged();
  await step(100);
  assert.deepEqual(seen.restarts, ['all']);
  watch.close();
});

test('a path that falls quiet soon after the network has changed is given up', async (t) => {
  const step = clock(t);
  const { pc, watch, seen } = connected();
  await step(2000);
  watch.networkChanged();
  assert.deepEqual(seen.restarts, [], 'it flows');
  pc.flowing = false;
  await step(2500);
  assert.deepEqual(seen.restarts, ['all']);
  watch.close();
});

/** Sockets that open at once and say nothing unless asked to answer. */
function sockets(t, answers) {
  const made = [];
  class FakeSocket {
    static OPEN = 1;
    readyState = 1;
    constructor() {
      made.push(this);
      queueMicrotask(() => this.onopen?.());
    }
    send(text) {
      if (answers && JSON.parse(text).type === 'ping') {
        queueMicrotask(() => this.onmessage?.({ data: '{"type":"pong","body":{"time":0,"server":0}}' }));
      }
    }
    close() {}
  }
  const before = globalThis.WebSocket;
  globalThis.WebSocket = FakeSocket;
  t.after(() => { globalThis.WebSocket = before; });
  return made;
}

for (const answers of [true, false]) {
  test(`a socket in doubt that ${answers ? 'answers is kept' : 'is silent is replaced'}`, async (t) => {
    const step = clock(t);
    const made = sockets(t, answers);
    const nothing = () => {};
    const connection = new Connection('ws://server/ws', '', {
      hello: () => ({}), onWelcome: nothing, onResumed: nothing, onMessage: nothing,
      onEnded: nothing, onRefused: nothing, onState: nothing, onLog: nothing,
    });
    connection.start();
    await step(1000);
    connection.probe();
    await step(1500);
    assert.equal(made.length, answers ? 1 : 2);
    connection.close();
  });
}

test('a DTLS handshake that fails is named at once, and no other path is tried', async (t) => {
  const step = clock(t);
  const pc = Object.assign(new EventTarget(), { connectionState: 'connecting', iceConnectionState: 'connected' });
  const seen = { verdicts: [], restarts: 0 };
  const watch = new IceWatch(pc, {
    relayRestart: 4.5, onLog() {}, onVerdict: (code, stage) => seen.verdicts.push(`${code} ${stage}`), onQuiet() {},
    restart: async () => { seen.restarts++; },
  });
  watch.answered();
  await step(1000);
  pc.connectionState = 'failed';
  pc.dispatchEvent(new Event('connectionstatechange'));
  assert.deepEqual(seen.verdicts, ['DTLS_FAILED dtls']);
  await step(30_000);
  assert.deepEqual(seen, { verdicts: ['DTLS_FAILED dtls'], restarts: 0 });
});
