// Unit tests of what the playback page is made of and needs no page for.
import assert from 'node:assert/strict';
import test from 'node:test';
import { refusalWords } from '../static/js/client/exports.js';
import { PlaybackClock, Reference, correction } from '../static/js/client/playback-clock.js';
import { RecordingAccess } from '../static/js/client/recording.js';
import { amplitude, fileTime, loudness, merge, recordingModel, sessionTime } from '../static/js/client/recording-model.js';

/** A call of 60 s: a doctor all the time, a patient who comes twice. */
function manifest() {
  const segment = (file, participant, session, track, source, t0_ms, duration_ms, more = {}) =>
    ({ file, participant, session, track, source, t0_ms, duration_ms, codec: 'x', state: 'final', bytes: 1, gaps: [], ...more });
  const track = (id, participant, session, source, started_ms, ended_ms) => ({ track: id, participant, session, source, started_ms, ended_ms });
  const event = (ms, type, participant, session, more = {}) => ({ ms, type, participant, session, ...more });
  return {
    call: 'c', room: 'r', state: 'final', started: '2026-11-23T08:00:00Z', ended: '2026-11-23T08:01:05Z',
    participants: [{ number: 1, identity: 'doc', role: 'doctor' }, { number: 2, identity: 'pat', role: 'patient' }],
    tracks: [
      track('t1', 'doc', 's1', 'mic', 100, 60000), track('t2', 'doc', 's1', 'screen', 20000, 30000),
      track('t3', 'pat', 's2', 'mic', 1000, 10000), track('t4', 'pat', 's3', 'mic', 15000, 50000), track('t5', 'pat', 's3', 'cam', 15000, 50000),
    ],
    segments: [
      // 0.5 s steps: loud for 2 s, a pause of 1 s, loud for 1 s, then noise.
      segment('p1-mic-1.webm', 'doc', 's1', 't1', 'mic', 200, 59000, {
        activity: { step_ms: 500, source: 'audio_level', levels: btoa(String.fromCharCode(20, 30, 25, 40, 90, 90, 30, 20, 80, 127)) },
        gaps: [{ ms: 5000, duration_ms: 800, reason: 'lost' }, { ms: 8000, duration_ms: 5000, reason: 'muted' }],
      }),
      segment('p2-mic-1.webm', 'pat', 's2', 't3', 'mic', 1100, 8900),
      segment('p2-mic-2.webm', 'pat', 's3', 't4', 'mic', 15100, 34900, { drift_ppm: 1000 }),
      segment('p2-cam-1.webm', 'pat', 's3', 't5', 'cam', 15500, 34500, { state: 'failed' }),
    ],
    events: [
      event(0, 'participant.joined', 'doc', 's1', { data: { name: 'Dr. Weiss' } }),
      event(900, 'participant.joined', 'pat', 's2', { data: { name: 'Anna' } }),
      event(10100, 'participant.left', 'pat', 's2'),
      event(15000, 'note.track', 'pat', 's3', { track: 't4', data: { text: 'published' } }),
      event(16000, 'note.track', 'pat', 's3', { track: 't4', data: { text: 'muted' } }),
      event(18000, 'note.track', 'pat', 's3', { track: 't4', data: { text: 'unmuted' } }),
      event(20000, 'note.track', 'doc', 's1', { track: 't2', data: { text: 'published', source: 'screen' } }),
      event(30000, 'note.track', 'doc', 's1', { track: 't2', data: { text: 'ended' } }),
      event(31000, 'media.timeout', 'pat', 's3', { code: 'NO_MEDIA_OUT', data: { source: 'cam' } }),
      event(40000, 'note.track', 'pat', 's3', { track: 't4', data: { text: 'muted' } }),
    ],
  };
}

test('files that are not there are not played, and the axis ends with what was last seen', () => {
  const recording = recordingModel(manifest());
  assert.deepEqual(recording.parts.map((p) => p.file), ['p1-mic-1.webm', 'p2-mic-1.webm', 'p2-mic-2.webm']);
  assert.equal(recording.length, 59200, 'and not five seconds after everybody has left');
  assert.equal(recording.live, false);
});

test('somebody who came twice has one lane, a name, and a gap between', () => {
  const [doc, pat] = recordingModel(manifest()).lanes;
  assert.equal(doc.name, 'Dr. Weiss');
  assert.deepEqual(doc.present, [{ start: 0, end: 59200 }]);
  assert.deepEqual(pat.present, [{ start: 900, end: 10000 }, { start: 15000, end: 50000 }]);
  assert.equal(pat.parts.mic.length, 2);
});

test('muted is from the note to the next one, or to the end of the track', () => {
  const [, pat] = recordingModel(manifest()).lanes;
  assert.deepEqual(pat.muted.mic, [{ start: 16000, end: 18000 }, { start: 40000, end: 50000 }]);
});

test('turns of speech bridge a short pause and leave out noise', () => {
  const [doc] = recordingModel(manifest()).lanes;
  assert.deepEqual(doc.speech, [{ start: 200, end: 4200 }]);
  assert.ok(loudness(doc, 300) > 0.8);
  assert.equal(loudness(doc, 2500), 0);
  assert.equal(loudness(doc, 59500), 0, 'after the file');
  assert.equal(amplitude(127), 0);
  assert.equal(amplitude(0), 1);
});

test('moments come in order, with damage but without silence', () => {
  const { moments } = recordingModel(manifest());
  assert.deepEqual(moments.map((m) => `${m.ms} ${m.kind} ${m.what}`), [
    '0 people joined', '200 speech speaks', '900 people joined', '5200 failure gap_lost', '10100 people left',
    '16000 devices mic_off', '18000 devices mic_on', '20000 devices screen_on', '30000 devices screen_off',
    '31000 failure timeout', '40000 devices mic_off',
  ]);
  assert.equal(moments.find((m) => m.what === 'timeout')?.code, 'NO_MEDIA_OUT');
  assert.equal(moments.find((m) => m.what === 'gap_lost')?.span, 800);
});

test('a manifest with next to nothing in it is a recording without files', () => {
  const recording = recordingModel({ call: 'c', room: 'r', state: 'live', started: '2026-11-23T08:00:00Z', participants: [] });
  assert.deepEqual([recording.parts, recording.moments, recording.live, recording.length], [[], [], true, 1]);
});

test('a drifting file is longer on the axis, and the way back leads to the same place', () => {
  const part = recordingModel(manifest()).parts[2];
  assert.equal(part.end, 15100 + 34900 * 1.001);
  assert.equal(sessionTime(part, 10), 15100 + 10010);
  for (const ms of [15100, 20000, 50000]) assert.ok(Math.abs(sessionTime(part, fileTime(part, ms)) - ms) < 1e-6);
});

test('spans that touch become one', () => {
  assert.deepEqual(merge([{ start: 5, end: 6 }, { start: 1, end: 3 }, { start: 3, end: 4 }], 0), [{ start: 1, end: 4 }, { start: 5, end: 6 }]);
  assert.deepEqual(merge([{ start: 1, end: 9 }, { start: 2, end: 3 }], 0), [{ start: 1, end: 9 }]);
});

test('the clock goes at its speed, stands still, and never jumps by a change of speed', () => {
  let now = 1000;
  const clock = new PlaybackClock(() => now);
  clock.seek(500);
  now += 1000;
  assert.equal(clock.position, 500, 'it does not run yet');
  clock.start();
  now += 1000;
  assert.equal(clock.position, 1500);
  clock.setRate(2);
  clock.start();
  now += 1000;
  assert.equal(clock.position, 3500);
  clock.stop();
  now += 1000;
  assert.equal(clock.position, 3500);
  clock.adjust(-100);
  assert.equal(clock.position, 3400);
});

test('who is a little off is bent, who is far off jumps, and sound is bent less', () => {
  assert.deepEqual(correction(10, 'picture'), { jump: false, rate: 1 });
  assert.deepEqual(correction(50, 'picture'), { jump: false, rate: 0.95 });
  assert.deepEqual(correction(-50, 'picture'), { jump: false, rate: 1.05 });
  assert.deepEqual(correction(-390, 'picture'), { jump: false, rate: 1.1 });
  assert.deepEqual(correction(401, 'picture'), { jump: true, rate: 1 });
  assert.deepEqual(correction(60, 'sound'), { jump: false, rate: 0.97 });
  assert.deepEqual(correction(-240, 'sound'), { jump: false, rate: 1.05 });
  assert.deepEqual(correction(-251, 'sound'), { jump: true, rate: 1 });
});

test('the pace is that of the sound which leads, within reason, and is forgotten with it', () => {
  const reference = new Reference();
  for (let wall = 0; wall <= 1000; wall += 100) reference.see('a', wall, wall * 0.8, 1);
  assert.ok(Math.abs(reference.pace - 0.8) < 1e-9);
  reference.see('b', 1100, 0, 1);
  assert.equal(reference.pace, 1, 'another sound');
  for (let wall = 1200; wall <= 3000; wall += 100) reference.see('b', wall, 0, 1);
  assert.equal(reference.pace, 0.5, 'a sound that stands still is not believed');
  assert.equal(reference.follow(300), 0);
  assert.ok(Math.abs(reference.follow(-100) + 15) < 1e-9);
});

test('what was sent and is in no file is known, between the files that are there', () => {
  const [, pat] = recordingModel(manifest()).lanes;
  assert.deepEqual(pat.lost.cam, [{ start: 15500, end: 50000, state: 'failed' }], 'to the end of the track: such a file has no length');
  assert.deepEqual(pat.lost.mic, []);
  const m = manifest();
  m.segments.push({ ...m.segments[2], file: 'p2-mic-3.webm', t0_ms: 30000, duration_ms: 0, state: 'locked' });
  m.segments[2].duration_ms = 14900;
  const [, later] = recordingModel(m).lanes;
  assert.deepEqual(later.lost.mic.map((s) => s.state), ['locked']);
  assert.ok(Math.abs(later.lost.mic[0].start - 30014.9) < 0.1, 'it begins where the file before it ends');
  assert.equal(later.lost.mic[0].end, 50000);
});

/** Answers every request of a recording alike, and counts them. */
function answering(t, status, body) {
  const asked = [];
  t.mock.method(globalThis, 'fetch', async (url, options) => {
    asked.push([options.method ?? 'GET', new URL(url).pathname, options.headers?.Range]);
    if (status === 0) throw new TypeError('no network');
    return new Response(body === undefined ? null : JSON.stringify(body), { status });
  });
  return { asked, access: new RecordingAccess('https://video.example', 'rec1') };
}

for (const [status, code, want] of [[206, '', 'unplayable'], [401, 'unauthorized', 'closed'], [403, 'forbidden', 'closed'], [404, 'not_found', 'missing'],
  [410, 'erased', 'missing'], [409, 'sealed', 'sealed'], [500, 'damaged', 'damaged'], [500, 'internal', 'unplayable'], [0, '', 'unplayable']]) {
  test(`a file that does not play and is answered ${status} ${code} is ${want}`, async (t) => {
    const { access, asked } = answering(t, status, code ? { code } : undefined);
    assert.equal(await access.fault('p1-mic-1.webm'), want);
    assert.deepEqual(asked, [['GET', '/v1/recordings/rec1/files/p1-mic-1.webm', 'bytes=0-0']], 'one byte says it');
  });
}

test('why a recording is not shown comes from the server', async (t) => {
  const { access } = answering(t, 410, { code: 'erased', detail: 'erased at noon by olga: asked for' });
  await assert.rejects(access.manifest(), { status: 410, code: 'erased', detail: 'erased at noon by olga: asked for' });
  const broken = answering(t, 502);
  await assert.rejects(broken.access.manifest(), { status: 502, code: '', detail: '' });
});

test('every refusal of an export has words of its own where somebody can do something', () => {
  const words = [[501, 'not_implemented'], [409, 'sealed'], [503, 'DISK_FULL'], [503, 'unavailable'], [403, 'forbidden'], [0, ''], [422, 'unusable']]
    .map(([status, code]) => refusalWords({ status, code }));
  assert.deepEqual(words, ['playback.export.no_program', 'playback.export.sealed', 'playback.export.disk', 'playback.export.busy',
    'playback.access.ended', 'playback.access.unreachable.text', 'playback.export.refused']);
});
