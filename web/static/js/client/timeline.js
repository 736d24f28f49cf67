// @ts-check
// A call's journal as lanes on one axis of time: for each participant what his
// device said and what the server saw.

/** @typedef {import('./administration.js').JournalEvent} JournalEvent */
/**
 * @typedef {object} Entry
 * @property {JournalEvent} event
 * @property {number} at  ms since the start of the axis; below 0: before it
 * @property {'device' | 'server'} side  who says so
 * @property {string} what  in a few words
 * @property {'failed' | 'good' | 'note' | 'plain'} kind
 */
/** @typedef {{participant: string, device: Entry[], server: Entry[]}} Lane */
/** @typedef {{start: number, length: number, entries: Entry[], lanes: Lane[]}} Timeline */

const GOOD = ['participant.joined', 'participant.admitted', 'ice.connected', 'media.flowing', 'media.resumed', 'quality.recovered'];
// A device whose clock is further off than this is not believed.
const CLOCK_TRUST = 60_000; // ms

/** @param {import('./administration.js').Journal} journal @returns {Timeline} */
export function timeline({ call, events }) {
  const times = events.filter((e) => e.type !== 'participant.invited' && e.participant).map(when);
  const start = times.length ? Math.min(...times) : Date.parse(call.started);
  const end = Math.max(start + 1000, ...events.map(when), call.ended ? Date.parse(call.ended) : 0);
  const entries = events.map((event) => entry(event, start)).sort((a, b) => a.at - b.at);
  /** @type {Map<string, Lane>} */
  const lanes = new Map([['', { participant: '', device: [], server: [] }]]);
  for (const e of entries) {
    const participant = e.event.participant ?? '';
    let lane = lanes.get(participant);
    if (!lane) lanes.set(participant, lane = { participant, device: [], server: [] });
    lane[e.side].push(e);
  }
  return { start, length: end - start, entries, lanes: [...lanes.values()] };
}

/** Failures that were reported, each participant's first cause first. @param {Timeline} of */
export function failures({ entries }) {
  /** @type {Entry[]} */
  const found = [];
  for (const e of entries) {
    const { code, participant } = e.event;
    // The device's log has it too, before or after: it is one failure.
    if (code && !found.some((f) => f.event.code === code && f.event.participant === participant)) found.push(e);
  }
  return found;
}

/** Figures of every two seconds, which say nothing one by one. @param {Entry} entry */
export function isFigure({ event }) {
  return event.type === 'note.client' && event.data.text === 'stats';
}

/** @param {JournalEvent} event */
function when({ type, time, data }) {
  const server = Date.parse(time);
  const device = type === 'note.client' ? Date.parse(data.client_time) : NaN;
  return Math.abs(device - server) < CLOCK_TRUST ? device : server;
}

/** @param {JournalEvent} event @param {number} start @returns {Entry} */
function entry(event, start) {
  const { type, code, data } = event;
  const device = type === 'note.client';
  const detail = data.source ?? data.reason ?? data.path ?? data.state ?? '';
  const what = device ? String(data.text) : [type, detail].filter(Boolean).join(' ');
  /** @type {Entry['kind']} */
  let kind = type.startsWith('note.') ? 'note' : 'plain';
  if (GOOD.includes(type)) kind = 'good';
  if (code || type === 'recording.failed' || type === 'media.stalled') kind = 'failed';
  return { event, at: when(event) - start, side: device ? 'device' : 'server', what: code ? `${what} ${code}` : what, kind };
}
