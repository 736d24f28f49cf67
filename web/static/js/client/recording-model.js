// @ts-check
// From a manifest to what a player needs: every file on one axis of session
// time, a lane for each participant, and the moments worth finding. Times are
// milliseconds since the call began.
import { recordingMoments } from './recording-moments.js';

/** @typedef {import('./recording.js').Manifest} Manifest */
/** @typedef {import('./recording.js').Segment} Segment */
/** @typedef {import('./recording-moments.js').Moment} Moment */
/** @typedef {'mic' | 'cam' | 'screen'} Source */
/** @typedef {{start: number, end: number}} Span */

/**
 * A file with its place on the axis. ppm is by how many millionths a second of
 * the server is longer than one of the file.
 * @typedef {Span & {file: string, source: Source, participant: string, t0: number, ppm: number, bytes: number,
 *   state: Segment['state'], sealed: Segment['sealed'] | null, gaps: (Span & {reason: string})[], levels: Levels | null}} Part
 */
/**
 * How loud a microphone was: a byte a step, in -dBov.
 * @typedef {{step: number, guessed: boolean, values: Uint8Array}} Levels
 */
/**
 * @typedef {object} Lane
 * @property {string} identity
 * @property {string} name
 * @property {string} role
 * @property {Record<Source, Part[]>} parts
 * @property {Record<Source, Span[]>} muted
 * @property {Record<Source, (Span & {state: Segment['state']})[]>} lost  when there was something that is in no file
 * @property {Span[]} present
 * @property {Span[]} speech
 */
/**
 * @typedef {object} Recording
 * @property {Manifest} manifest
 * @property {number} length
 * @property {boolean} live
 * @property {Lane[]} lanes
 * @property {Part[]} parts  those that can be played
 * @property {Moment[]} moments  in order
 */

const SPEECH = 50; // -dBov: quieter is the noise of a room
const PAUSE = 1500; // within one turn of speech
const TURN = 1000; // a shorter sound is a cough

/** @param {Manifest} manifest @returns {Recording} */
export function recordingModel(manifest) {
  const segments = manifest.segments ?? [];
  const parts = segments.filter((s) => s.state === 'final' || s.state === 'recovered').map(part);
  const length = axisLength(manifest, parts);
  const lanes = manifest.participants.map((p) => lane(manifest, p, parts, length));
  return {
    manifest, length, live: manifest.state === 'live', lanes, parts,
    moments: recordingMoments(manifest, lanes, length),
  };
}

/** Session time of a place in a file. @param {Part} part @param {number} seconds */
export function sessionTime(part, seconds) {
  return part.t0 + seconds * 1000 * (1 + part.ppm / 1e6);
}

/** Place in a file at a session time, in seconds. @param {Part} part @param {number} ms */
export function fileTime(part, ms) {
  return (ms - part.t0) / (1 + part.ppm / 1e6) / 1000;
}

/** @param {Segment} s @returns {Part} */
function part(s) {
  const ppm = s.drift_ppm ?? 0;
  const at = (/** @type {number} */ ms) => s.t0_ms + ms * (1 + ppm / 1e6);
  return {
    file: s.file, source: s.source, participant: s.participant, state: s.state, bytes: s.bytes, sealed: s.sealed ?? null,
    t0: s.t0_ms, ppm, start: s.t0_ms, end: at(s.duration_ms), levels: levels(s),
    gaps: (s.gaps ?? []).map((g) => ({ start: at(g.ms), end: at(g.ms + g.duration_ms), reason: g.reason })),
  };
}

/** @param {Segment} s @returns {Levels | null} */
function levels({ activity }) {
  if (!activity?.levels || !(activity.step_ms > 0)) return null;
  const values = Uint8Array.from(atob(activity.levels), (c) => c.charCodeAt(0));
  return { step: activity.step_ms, guessed: activity.source !== 'audio_level', values };
}

/**
 * The axis ends with what was last seen, heard or told: a call stays open for a
 * while when everybody has left, and nobody wants to look at that.
 * @param {Manifest} manifest @param {Part[]} parts
 */
function axisLength(manifest, parts) {
  const told = (manifest.events ?? []).filter((e) => e.participant).map((e) => e.ms);
  return parts.reduce((last, p) => Math.max(last, p.end), told.reduce((last, ms) => Math.max(last, ms), 1));
}

/**
 * @param {Manifest} manifest @param {Manifest['participants'][number]} who
 * @param {Part[]} all @param {number} length @returns {Lane}
 */
function lane(manifest, who, all, length) {
  const of = (/** @type {Source} */ source) => all
    .filter((p) => p.participant === who.identity && p.source === source).sort((a, b) => a.start - b.start);
  const parts = { mic: of('mic'), cam: of('cam'), screen: of('screen') };
  const joined = (manifest.events ?? []).findLast((e) => e.type === 'participant.joined' && e.participant === who.identity);
  return {
    identity: who.identity, name: who.name || joined?.data?.name || who.identity, role: who.role ?? '', parts,
    muted: { mic: muted(manifest, who.identity, 'mic', length), cam: muted(manifest, who.identity, 'cam', length), screen: [] },
    lost: { mic: lost(manifest, who.identity, 'mic', length), cam: lost(manifest, who.identity, 'cam', length), screen: lost(manifest, who.identity, 'screen', length) },
    present: present(manifest, who.identity, length), speech: speech(parts.mic),
  };
}

/**
 * When somebody was in the call: by session, from the join, or the first track
 * where the join came before the recording, to the leave.
 * @param {Manifest} manifest @param {string} identity @param {number} length
 */
function present(manifest, identity, length) {
  /** @type {Map<string, Span>} */
  const sessions = new Map();
  const open = (/** @type {string | undefined} */ session, /** @type {number} */ ms) => {
    const span = sessions.get(session ?? '') ?? { start: ms, end: length };
    span.start = Math.min(span.start, ms);
    sessions.set(session ?? '', span);
    return span;
  };
  for (const t of manifest.tracks ?? []) if (t.participant === identity) open(t.session, t.started_ms);
  for (const e of manifest.events ?? []) {
    if (e.participant !== identity) continue;
    if (e.type === 'participant.joined') open(e.session, e.ms);
    else if (e.type === 'participant.left' && sessions.has(e.session ?? '')) open(e.session, e.ms).end = e.ms;
  }
  const ends = new Map(); // of a session that nobody saw leave: its last track's
  for (const t of manifest.tracks ?? []) ends.set(t.session, Math.max(ends.get(t.session) ?? 0, t.ended_ms ?? length));
  for (const [session, span] of sessions) span.end = Math.max(span.start, Math.min(span.end, ends.get(session) ?? length));
  return merge([...sessions.values()], 0);
}

/**
 * When a source was muted, by the notes about its tracks.
 * @param {Manifest} manifest @param {string} identity @param {Source} source @param {number} length
 */
function muted(manifest, identity, source, length) {
  /** @type {Span[]} */
  const spans = [];
  for (const track of manifest.tracks ?? []) {
    if (track.participant !== identity || track.source !== source) continue;
    let since = -1;
    const close = (/** @type {number} */ end) => {
      if (since >= 0 && end > since) spans.push({ start: since, end });
      since = -1;
    };
    for (const e of manifest.events ?? []) {
      if (e.track !== track.track || e.type !== 'note.track') continue;
      if (e.data?.text === 'muted' || (e.data?.text === 'published' && e.data.muted)) since = since < 0 ? e.ms : since;
      else if (e.data?.text === 'unmuted') close(e.ms);
    }
    close(track.ended_ms ?? length);
  }
  return merge(spans, 0);
}

/**
 * When a source was sent whose file can't be played: it failed, is locked, or
 * is not closed yet. Such a file has no length; its track has.
 * @param {Manifest} manifest @param {string} identity @param {Source} source @param {number} length
 */
function lost(manifest, identity, source, length) {
  const of = (manifest.segments ?? []).filter((s) => s.participant === identity && s.source === source);
  const played = of.filter((s) => s.state === 'final' || s.state === 'recovered').map(part);
  return of.filter((s) => !['final', 'recovered'].includes(s.state)).flatMap((s) => {
    const track = (manifest.tracks ?? []).find((t) => t.track === s.track);
    // Another file of the track may be fine: this one is what is between.
    const start = Math.max(s.t0_ms, ...played.filter((p) => p.start <= s.t0_ms).map((p) => Math.min(p.end, length)));
    const next = Math.min(length, track?.ended_ms ?? length, ...played.filter((p) => p.start > s.t0_ms).map((p) => p.start));
    return next > start ? [{ start, end: next, state: s.state }] : [];
  });
}

/** Turns of speech. @param {Part[]} microphones */
function speech(microphones) {
  /** @type {Span[]} */
  const spans = [];
  for (const p of microphones) {
    p.levels?.values.forEach((level, i) => {
      if (level > SPEECH || !p.levels) return;
      spans.push({ start: p.start + i * p.levels.step, end: Math.min(p.end, p.start + (i + 1) * p.levels.step) });
    });
  }
  return merge(spans, PAUSE).filter((s) => s.end - s.start >= TURN);
}

/** How loud somebody was, 0 to 1. @param {Lane} lane @param {number} ms */
export function loudness(lane, ms) {
  const p = lane.parts.mic.find((m) => ms >= m.start && ms < m.end);
  if (!p?.levels) return 0;
  return amplitude(p.levels.values[Math.floor((ms - p.start) / p.levels.step)] ?? 127);
}

/** @param {number} level -dBov; 70 is nothing to see, 15 is as loud as it gets */
export function amplitude(level) {
  return Math.max(0, Math.min(1, (70 - level) / 55));
}

/** Spans in order, those closer than gap made one. @param {Span[]} spans @param {number} gap */
export function merge(spans, gap) {
  /** @type {Span[]} */
  const out = [];
  for (const s of [...spans].sort((a, b) => a.start - b.start)) {
    const last = out.at(-1);
    if (last && s.start - last.end <= gap) last.end = Math.max(last.end, s.end);
    else out.push({ ...s });
  }
  return out;
}
