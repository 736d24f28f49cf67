// @ts-check
// A call's journal as it is shown: entries of both sides on one axis of time,
// by participant. The server has put them on one clock.

/** @typedef {import('./administration.js').JournalEvent} JournalEvent */
/** @typedef {import('./administration.js').ParticipantSummary} ParticipantSummary */
/**
 * @typedef {object} Entry
 * @property {JournalEvent} event
 * @property {number} at  ms since the start of the axis
 * @property {'client' | 'server'} side  who says so
 * @property {string} what  in a few words
 * @property {'failed' | 'good' | 'note' | 'plain'} kind  notes are for who looks closely
 */
/** @typedef {{identity: string, summary: ParticipantSummary | null, entries: Entry[]}} Lane  "" is the call itself */
/** @typedef {{start: number, entries: Entry[], lanes: Lane[]}} Timeline */

const GOOD = ['participant.joined', 'participant.admitted', 'ice.connected', 'media.flowing', 'media.resumed', 'quality.recovered'];
// Of what the connection was asked and said these tell how far it came.
const TELLING = ['oniceconnectionstatechange', 'onconnectionstatechange', 'onicecandidateerror'];

/** @param {import('./administration.js').Journal} journal @returns {Timeline} */
export function timeline({ call, events, participants }) {
  const present = events.filter((e) => e.type !== 'participant.invited' && e.participant);
  const start = Math.min(...present.map((e) => Date.parse(e.at)), ...(present.length ? [] : [Date.parse(call.started)]));
  const entries = events.map((event) => entry(event, start));
  const identities = ['', ...participants.map((p) => p.identity)];
  for (const { participant } of events) if (participant && !identities.includes(participant)) identities.push(participant);
  const lanes = identities.map((identity) => ({
    identity,
    summary: participants.find((p) => p.identity === identity) ?? null,
    entries: entries.filter((e) => (e.event.participant ?? '') === identity),
  }));
  return { start, entries, lanes };
}

/** The incidents of a call: of each the first word. @param {{entries: Entry[]}} of */
export function failures({ entries }) {
  /** @type {Map<string, Entry>} */
  const found = new Map();
  for (const e of entries) {
    const { code, participant, data } = e.event;
    const key = data.incident ?? `${participant} ${code}`;
    const known = found.get(key);
    // The device's word for it comes with less evidence than the server's.
    if (code && (!known || (known.side === 'client' && e.side === 'server'))) found.set(key, e);
  }
  return [...found.values()];
}

/** Figures of every two seconds, which say nothing one by one. @param {Entry} entry */
export function isFigure({ event }) {
  return event.type === 'note.client' && ['stats', 'getStats'].includes(event.data.text);
}

/** @param {JournalEvent} event @param {number} start @returns {Entry} */
function entry(event, start) {
  const { type, code, data, side } = event;
  const what = side === 'client' ? clientWords(data) : serverWords(type, data);
  return { event, at: Date.parse(event.at) - start, side, what: [what, code].filter(Boolean).join(' '), kind: kindOf(event) };
}

/** @param {Record<string, any>} data */
function clientWords({ text, rtc }) {
  const value = Array.isArray(rtc) ? rtc[2] : null;
  return typeof value === 'string' && !String(text).includes(value) ? `${text} ${value}` : String(text);
}

/** @param {string} type @param {Record<string, any>} data */
function serverWords(type, data) {
  if (type.startsWith('note.')) return [data.text, data.type, data.protocol].filter(Boolean).join(' ');
  return [type, data.source ?? data.reason ?? data.path ?? data.state].filter(Boolean).join(' ');
}

/** @param {JournalEvent} event @returns {Entry['kind']} */
function kindOf({ type, code, data }) {
  if (code || type === 'recording.failed' || type === 'media.stalled') return 'failed';
  if (GOOD.includes(type)) return 'good';
  if (type === 'note.candidate' || type === 'note.track') return 'note';
  if (type === 'note.client' && Array.isArray(data.rtc) && !TELLING.includes(data.rtc[0])) return 'note';
  return 'plain';
}
