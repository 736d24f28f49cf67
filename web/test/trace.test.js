// Unit tests of what the client writes down of a call: `npm test`.
import assert from 'node:assert/strict';
import test from 'node:test';
import { incidentOf, learnIncidents } from '../static/js/client/incidents.js';
import { batches, ClientLog } from '../static/js/client/log.js';
import { changed, selectedPair, snapshot } from '../static/js/client/snapshot.js';
import { PeerTrace, publicSdp } from '../static/js/client/trace.js';

/** A connection that does what it is asked and has no media. */
class FakePeer extends EventTarget {
  signalingState = 'stable';
  iceConnectionState = 'new';
  iceGatheringState = 'new';
  connectionState = 'new';
  refuse = false;
  sdp = 'v=0\r\no=1\r\nm=audio\r\na=ice-pwd:s3cret\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\nm=video\r\na=mid:1\r\n';
  async createOffer() { return { type: 'offer', sdp: this.sdp }; }
  async setLocalDescription() { if (this.refuse) throw new Error('no'); }
  async setRemoteDescription() {}
  async getStats() { return new Map([['T', { type: 'transport', timestamp: 1.5, dtlsState: 'connected' }]]); }
}

function traced() {
  const pc = new FakePeer();
  /** @type {any[]} */
  const lines = [];
  const trace = new PeerTrace(/** @type {any} */ (pc), { iceServers: [{ urls: 'turn:h', username: 'anna', credential: 'pw' }] },
    (stage, text, data) => lines.push({ stage, text, ...data }));
  return { pc, lines, trace, methods: () => lines.filter((l) => l.rtc).map((l) => l.rtc[0]) };
}

test('what a connection is asked and says is written down in the words of rtcstats', async () => {
  const { pc, lines, trace, methods } = traced();
  await pc.setLocalDescription(await pc.createOffer({ iceRestart: false }));
  await pc.setRemoteDescription({ type: 'answer', sdp: pc.sdp });
  pc.iceConnectionState = 'checking';
  pc.dispatchEvent(new Event('iceconnectionstatechange'));
  await trace.stats('failed');
  trace.close();
  assert.deepEqual(methods(), ['create', 'createOffer', 'createOfferOnSuccess', 'setLocalDescription', 'setLocalDescriptionOnSuccess',
    'setRemoteDescription', 'setRemoteDescriptionOnSuccess', 'oniceconnectionstatechange', 'getStats', 'close']);
  const state = lines.find((l) => l.text === 'ice checking');
  assert.deepEqual([state.stage, state.rtc[2]], ['ice', 'checking']);
  assert.equal(new Set(lines.filter((l) => l.rtc).map((l) => l.rtc[1])).size, 1, 'one connection, one id');
  const all = JSON.stringify(lines);
  for (const secret of ['s3cret', 'pw"', 'anna']) assert.ok(!all.includes(secret), secret);
});

test('the pair that carries the media is written down when it is another', async () => {
  const { pc, lines, trace } = traced();
  const over = (protocol) => new Map(Object.entries({
    pair: { type: 'candidate-pair', state: 'succeeded', nominated: true, localCandidateId: 'l', currentRoundTripTime: Math.random() },
    l: { type: 'local-candidate', candidateType: 'host', protocol },
  }));
  await trace.stats('connected'); // no pair is known yet
  for (const protocol of ['udp', 'udp', 'tcp']) {
    pc.getStats = async () => over(protocol);
    await trace.stats();
  }
  const pairs = lines.filter((l) => l.text === 'selected pair').map((l) => l.pair.local.protocol);
  assert.deepEqual(pairs, ['udp', 'tcp']);
});

test('a refused call is written down and still refused', async () => {
  const { pc, lines, methods } = traced();
  pc.refuse = true;
  await assert.rejects(pc.setLocalDescription({ type: 'offer', sdp: pc.sdp }), /no/);
  assert.equal(methods().at(-1), 'setLocalDescriptionOnFailure');
  assert.equal(lines.at(-1).rtc[2], 'Error: no');
});

test('a description that is offered again says only what is new', async () => {
  const { pc, lines } = traced();
  await pc.setLocalDescription({ type: 'offer', sdp: pc.sdp });
  await pc.setLocalDescription({ type: 'offer', sdp: pc.sdp.replace('a=mid:1', 'a=mid:2') });
  const [first, second] = lines.filter((l) => l.text === 'setLocalDescription').map((l) => l.rtc[2].sdp);
  assert.match(first, /m=audio\r\na=ice-pwd:-\r\nm=video\r\na=mid:1\r\n$/);
  assert.equal(second, 'v=0\r\no=1\r\nm=\r\nm=video\r\na=mid:2\r\n');
});

test('an SDP in the log has no password and no candidates', () => {
  assert.equal(publicSdp('a=ice-ufrag:u\r\na=ice-pwd:x\r\na=candidate:1 1 udp\r\na=end-of-candidates\r\na=mid:0\r\n'),
    'a=ice-ufrag:u\r\na=ice-pwd:-\r\na=mid:0\r\n');
});

test('of the statistics what is used is kept, and next time what is new', () => {
  const report = new Map(Object.entries({
    idle: { type: 'inbound-rtp', packetsReceived: 0 },
    video: { type: 'inbound-rtp', kind: 'video', packetsReceived: 7, trackIdentifier: 'x', codecId: 'c1', timestamp: 1 },
    c1: { type: 'codec', mimeType: 'video/VP8' }, c2: { type: 'codec', mimeType: 'video/AV1' },
    cert: { type: 'certificate', base64Certificate: 'MII' },
    never: { type: 'candidate-pair', state: 'frozen' },
    pair: { type: 'candidate-pair', state: 'succeeded', nominated: true, localCandidateId: 'l', remoteCandidateId: 'r', currentRoundTripTime: 0.02 },
    l: { type: 'local-candidate', candidateType: 'relay', protocol: 'udp', relayProtocol: 'tls' },
    r: { type: 'remote-candidate', candidateType: 'prflx', protocol: 'udp' },
  }));
  const first = snapshot(report);
  assert.deepEqual(Object.keys(first).sort(), ['c1', 'l', 'pair', 'r', 'video']);
  assert.equal(first.video.trackIdentifier, undefined);
  assert.deepEqual(selectedPair(first)?.local, { type: 'relay', protocol: 'udp', relay_protocol: 'tls', network: undefined });
  assert.equal(selectedPair({}), null);
  const next = { video: { ...first.video, packetsReceived: 9 } };
  assert.deepEqual(changed(first, next), { video: { packetsReceived: 9 }, c1: null, pair: null, l: null, r: null });
  const many = new Map(Array.from({ length: 500 }, (_, i) => [`s${i}`, { type: 'inbound-rtp', packetsReceived: 1 }]));
  assert.equal(Object.keys(snapshot(many)).length, 60);
});

test('the log is bounded in entries and in bytes, and says what it dropped', async () => {
  const log = new ClientLog();
  for (let i = 0; i < 500; i++) log.add('page', `entry ${i}`);
  const kept = log.take();
  assert.equal(kept.length, 400);
  log.add('offer', 'long', { sdp: 'x'.repeat(100_000) });
  const [long] = log.take();
  assert.deepEqual(Object.keys(long.data ?? {}), ['too_long']);
  for (let i = 0; i < 100; i++) log.add('offer', 'rather long', { sdp: 'x'.repeat(20_000) });
  const rest = log.take();
  assert.ok(rest.length > 10 && JSON.stringify(rest).length < 410_000, `${rest.length} entries`);
  log.add('page', 'again there is room');
  assert.equal(log.take().length, 1);
});

test('entries are sent in portions that the server takes', () => {
  const entry = (length) => ({ time: 1, stage: 'page', text: 'x'.repeat(length) });
  const sizes = (list) => list.map((b) => b.length);
  assert.deepEqual(sizes(batches([], 40, 1000)), []);
  assert.deepEqual(sizes(batches(Array.from({ length: 90 }, () => entry(1)), 40, 1e6)), [40, 40, 10]);
  assert.deepEqual(sizes(batches([entry(900), entry(900), entry(10), entry(5000), entry(10)], 40, 1100)), [1, 2, 1, 1]);
});

test('the number of a failure is the last that the server told', () => {
  learnIncidents(undefined);
  learnIncidents({ NO_ROUTE: 'K7M4-QX', CAM_DENIED: 7 });
  learnIncidents({ NO_ROUTE: 'AAAA-AA', CAM_BUSY: '' });
  assert.equal(incidentOf('NO_ROUTE'), 'AAAA-AA');
  assert.equal(incidentOf('CAM_DENIED') + incidentOf('CAM_BUSY'), '');
});
