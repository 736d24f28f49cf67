// Unit tests of js/client and js/lib, which know no page: `npm test`. How the
// client behaves in real browsers is tested from Go.
import assert from 'node:assert/strict';
import test from 'node:test';
import { diagnoseConnection } from '../static/js/client/diagnose.js';
import { watchAbsence } from '../static/js/client/absence.js';
import { Failures } from '../static/js/client/failures.js';
import { ClientLog } from '../static/js/client/log.js';
import { Outbox } from '../static/js/client/outbox.js';
import { judge } from '../static/js/client/precheck.js';
import { only } from '../static/js/client/probe.js';
import { Roster } from '../static/js/client/roster.js';
import { StatsReporter } from '../static/js/client/stats.js';
import { failures, timeline } from '../static/js/client/timeline.js';
import { effect, signal } from '../static/js/lib/signal.js';

test('outbox numbers without gaps and keeps what is not acknowledged', () => {
  const outbox = new Outbox();
  for (let i = 0; i < 3; i++) outbox.add({ type: 'view', body: {} });
  outbox.acknowledge(2);
  assert.deepEqual(outbox.unacknowledged().map((e) => e.seq), [3]);
});

test('outbox settles a request once, by its id', async () => {
  const outbox = new Outbox();
  const first = outbox.request({ type: 'offer', body: {} });
  const second = outbox.request({ type: 'turn', body: {} });
  assert.notEqual(first.envelope.id, second.envelope.id);
  outbox.settle(String(second.envelope.id), { ice_servers: [] });
  outbox.settle(String(second.envelope.id), 'again');
  assert.deepEqual(await second.reply, { ice_servers: [] });
  outbox.reset(new Error('new session'));
  await assert.rejects(first.reply, /new session/);
  assert.equal(outbox.add({ type: 'view', body: {} }).seq, 1, 'a new session counts from 1');
});

test('outbox that runs full empties reports, never requests, and keeps every number', () => {
  const outbox = new Outbox();
  outbox.request({ type: 'publish', body: { mid: '0' } }).reply.catch(() => {});
  for (let i = 0; i < 400; i++) outbox.add({ type: 'report', body: { decoded: { t: { frames: i } } } });
  const kept = outbox.unacknowledged();
  assert.deepEqual(kept.map((e) => e.seq), Array.from({ length: 401 }, (_, i) => i + 1));
  assert.equal(kept[0].type, 'publish');
  assert.equal(kept.filter((e) => e.type === 'report').length, 299);
  assert.deepEqual(kept[1].body, { entries: [] });
});

test('a message too long for the server is given up, and its number stays', async () => {
  const outbox = new Outbox();
  outbox.add({ type: 'view', body: {} });
  const long = outbox.request({ type: 'offer', body: { sdp: 'я'.repeat(300) } });
  assert.deepEqual(outbox.discardLonger(500, new Error('too large')), ['offer']);
  await assert.rejects(long.reply, /too large/);
  assert.deepEqual(outbox.unacknowledged().map((e) => [e.seq, e.type, e.id]), [[1, 'view', undefined], [2, 'log', undefined]]);
});

test('in the background a frame counts when it arrives, and none counts twice', async () => {
  let decoded = 10;
  let received = 12;
  const pc = {
    getTransceivers: () => [],
    getStats: async () => new Map([['v', { type: 'inbound-rtp', kind: 'video', mid: '3', framesDecoded: decoded, framesReceived: received }]]),
  };
  const stats = new StatsReporter(/** @type {any} */ (pc));
  const frames = async (hidden) => (await stats.collect(new Map([['3', 'anna']]), hidden)).decoded.anna.frames;
  assert.equal(await frames(false), 10);
  received = 42;
  assert.equal(await frames(true), 40, 'nothing is decoded behind another window');
  [decoded, received] = [20, 62];
  assert.equal(await frames(false), 50);
});

test('frames are counted from when the track took the seat', async () => {
  let frames = 50;
  const pc = {
    getTransceivers: () => [{ mid: '3', receiver: { track: { id: 'x' } } }],
    getStats: async () => new Map([['v', { type: 'inbound-rtp', kind: 'video', trackIdentifier: 'x', framesDecoded: frames }]]),
  };
  const stats = new StatsReporter(/** @type {any} */ (pc));
  const decoded = async (track) => (await stats.collect(new Map([['3', track]]))).decoded;
  assert.equal((await decoded('anna'))['anna'].frames, 50);
  frames = 80;
  assert.equal((await decoded('boris'))['boris'].frames, 0, 'frames of the last person do not count');
  frames = 95;
  assert.deepEqual(Object.keys(await decoded('boris')), ['boris']);
  assert.equal((await decoded('boris'))['boris'].frames, 15);
});

test('a person who reloads keeps the tile; a screen gets its own', () => {
  const roster = new Roster();
  roster.reset('me');
  const person = (session, ...sources) => ({
    identity: 'anna', name: 'Anna', role: 'patient', state: 'joined', sessions: [session],
    tracks: sources.map((source) => ({ id: `${session}-${source}`, session, source, muted: false, state: 'flowing' })),
  });
  roster.replace(/** @type {any} */ ([person('s1', 'mic', 'cam'), { identity: 'me', sessions: [], tracks: [] }]));
  const before = roster.tiles();
  roster.change(/** @type {any} */ (person('s2', 'mic', 'cam', 'screen')));
  const after = roster.tiles();
  assert.deepEqual(before.map((t) => t.key), ['anna/cam/0']);
  assert.deepEqual(after.map((t) => [t.key, t.session, t.source]), [
    ['anna/cam/0', 's2', 'cam'], ['anna/screen/0', 's2', 'screen'],
  ]);
});

test('those who wait have no tile', () => {
  const roster = new Roster();
  roster.reset('me');
  roster.change({ identity: 'p', name: '', role: 'patient', state: 'waiting', sessions: [], tracks: [] });
  assert.equal(roster.tiles().length, 0);
  assert.deepEqual(roster.waiting().map((p) => p.identity), ['p']);
});

test('the first failure stays the first', () => {
  const failures = new Failures();
  failures.add({ code: 'NO_ROUTE', stage: 'ice' });
  failures.add({ code: 'NO_MEDIA_IN', stage: 'first_frame' });
  failures.add({ code: 'NO_ROUTE', participant: 'anna' });
  failures.clear('NO_MEDIA_IN');
  assert.deepEqual(failures.list.peek().map((f) => f.code + f.participant), ['NO_ROUTE', 'NO_ROUTEanna']);
});

test('a connection that fails has a cause', () => {
  const some = { host: 1, srflx: 0, prflx: 0, relay: 0 };
  const none = { host: 0, srflx: 0, prflx: 0, relay: 0 };
  const code = (state, candidates, errors = []) =>
    diagnoseConnection(/** @type {any} */ ({ iceConnectionState: state }), { candidates, errors }).code;
  assert.equal(code('connected', some), 'DTLS_FAILED');
  assert.equal(code('checking', some), 'NO_ROUTE');
  assert.equal(code('new', none), 'NO_CANDIDATES');
  assert.equal(code('checking', some, [{ code: 401, url: '' }]), 'TURN_AUTH');
  assert.equal(code('checking', { ...some, relay: 1 }, [{ code: 401, url: '' }]), 'NO_ROUTE');
  assert.equal(code('checking', some, [{ code: 701, url: '' }]), 'NO_ROUTE', '701: one server is out of reach');
});

test('an effect runs again once for several changes, and not after it was stopped', async () => {
  const a = signal(1);
  const b = signal(1);
  const seen = [];
  const stop = effect(() => seen.push(a.value + b.value));
  a.value = 2;
  b.value = 2;
  await null;
  stop();
  a.value = 9;
  await null;
  assert.deepEqual(seen, [2, 4]);
});

test('a failure is told once, and stays in the log in its place', () => {
  const log = new ClientLog();
  log.add('page', 'loaded');
  log.add('devices', 'cam not available', {}, 'CAM_NONE');
  assert.deepEqual(log.failures().map((e) => e.code), ['CAM_NONE']);
  assert.deepEqual(log.failures(), []);
  log.add('devices', 'mic not available', {}, 'MIC_NONE');
  assert.deepEqual(log.take().map((e) => [e.text, e.code]), [
    ['loaded', undefined], ['cam not available', undefined], ['mic not available', 'MIC_NONE'],
  ]);
});

test('nobody came: what the server says is taken back when somebody does', async () => {
  const roster = new Roster();
  roster.reset('me');
  const call = { phase: signal('joined'), roster, failures: new Failures() };
  const codes = () => call.failures.list.peek().map((f) => f.code);
  call.failures.add({ code: 'PEER_ABSENT' });
  watchAbsence(/** @type {any} */ (call));
  await null;
  assert.deepEqual(codes(), ['PEER_ABSENT']);
  roster.change({ identity: 'p', name: '', role: 'patient', state: 'joined', sessions: [], tracks: [] });
  await null;
  assert.deepEqual(codes(), []);
});

test('one way for media is enough, and the verdict names the first thing that is missing', () => {
  const all = Object.fromEntries(['page', 'camera', 'microphone', 'socket', 'udp', 'tcp', 'turn_udp', 'turn_tcp', 'turn_tls', 'websocket', 'media']
    .map((name) => [name, { status: 'ok' }]));
  const failed = (code) => ({ status: 'failed', code });
  const verdict = (changes) => Object.values(judge(/** @type {any} */ ({ ...all, ...changes }))).join(' ').trim();
  assert.equal(verdict({}), 'good');
  assert.equal(verdict({ udp: failed('UDP_BLOCKED'), turn_udp: failed('NO_ROUTE') }), 'limited UDP_BLOCKED');
  const none = Object.fromEntries(['udp', 'tcp', 'turn_udp', 'turn_tcp', 'turn_tls', 'websocket'].map((name) => [name, failed('NO_ROUTE')]));
  assert.equal(verdict({ ...none, media: { status: 'skipped' } }), 'failed NO_ROUTE');
  const untried = Object.fromEntries(Object.keys({ ...none, media: 0 }).map((name) => [name, { status: 'skipped' }]));
  assert.equal(verdict(untried), 'incomplete', 'what was not tried is not said to work');
  assert.equal(verdict({ camera: failed('CAM_BUSY'), microphone: failed('MIC_NONE') }), 'limited MIC_NONE');
  assert.equal(verdict({ socket: failed('SIGNAL_LOST') }), 'failed SIGNAL_LOST');
  assert.equal(verdict({ media: { status: 'ok', values: { loss: 0.2 } } }), 'limited DOWNLINK_WEAK');
});

test('an answer is cut down to the candidates of one protocol', () => {
  const sdp = 'v=0\r\na=candidate:1 1 udp 1 192.0.2.1 443 typ host\r\na=candidate:2 1 TCP 1 192.0.2.1 443 typ host tcptype passive\r\n';
  assert.equal(only('tcp', sdp), 'v=0\r\na=candidate:2 1 TCP 1 192.0.2.1 443 typ host tcptype passive\r\n');
  assert.equal(only('', sdp), sdp);
});

test('a timeline has both sides of each participant on one axis', () => {
  const at = (seconds) => new Date(Date.UTC(2026, 10, 23, 8, 0, seconds)).toISOString();
  const event = (seconds, type, participant, more = {}) => ({
    id: `${seconds}`, type, time: at(seconds + 1), at: at(seconds), side: type === 'note.client' ? 'client' : 'server', participant, data: {}, ...more,
  });
  const line = timeline(/** @type {any} */ ({
    call: { id: 'c', room: 'r', state: 'ended', started: at(0), ended: at(40), participants: [] },
    participants: [{ identity: 'anna', stages: [] }],
    events: [
      event(0, 'call.started', undefined), event(1, 'participant.invited', 'anna'),
      event(11, 'note.client', 'anna', { code: 'CAM_BUSY', data: { text: 'camera is in use', incident: 'AAAA-AA' } }),
      event(12, 'participant.joined', 'anna'),
      event(13, 'note.client', 'anna', { data: { text: 'createOffer', rtc: ['createOffer', 'PC_0', null] } }),
      event(14, 'note.client', 'anna', { data: { text: 'ice checking', rtc: ['oniceconnectionstatechange', 'PC_0', 'checking'] } }),
      event(20, 'participant.failed', 'anna', { code: 'CAM_BUSY', data: { incident: 'AAAA-AA' } }),
      event(30, 'media.timeout', 'anna', { code: 'NO_MEDIA_OUT', data: { incident: 'BBBB-BB' } }),
      event(35, 'media.timeout', 'boris', { code: 'NO_MEDIA_OUT' }),
    ],
  }));
  assert.equal(line.start, Date.parse(at(11)), 'waiting for the invited is no part of the axis');
  assert.deepEqual(line.lanes.map((l) => [l.identity, l.entries.length]), [['', 1], ['anna', 7], ['boris', 1]]);
  const anna = line.lanes[1].entries.slice(1);
  assert.deepEqual(anna.map((e) => [e.side, e.at, e.kind]), [['client', 0, 'failed'], ['server', 1000, 'good'], ['client', 2000, 'note'],
    ['client', 3000, 'plain'], ['server', 9000, 'failed'], ['server', 19000, 'failed']]);
  assert.deepEqual(failures(line).map((f) => [f.event.code, f.side]), [['CAM_BUSY', 'server'], ['NO_MEDIA_OUT', 'server'], ['NO_MEDIA_OUT', 'server']],
    'told by both sides it is one failure');
});

test('a log that was taken before its time came sends nothing', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const log = new ClientLog();
  const sent = [];
  log.deliverTo((entries) => sent.push(...entries));
  log.add('page', 'loaded');
  log.take();
  context.mock.timers.tick(1000);
  assert.deepEqual(sent, []);
});
