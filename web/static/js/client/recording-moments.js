// @ts-check
// The moments of a recorded call that somebody may look for.

/** @typedef {import('./recording.js').Manifest} Manifest */
/** @typedef {import('./recording.js').Entry} Entry */
/** @typedef {import('./recording-model.js').Lane} Lane */
/** @typedef {'people' | 'failure' | 'devices' | 'speech'} MomentKind */

/**
 * What is said about it is under the key playback.event.WHAT; a failure with a
 * code has words of its own. span is how long it lasted, 0 for an instant.
 * @typedef {{ms: number, span: number, kind: MomentKind, what: string, participant: string, code: string, source: string}} Moment
 */

/** What an event of the call is to somebody who looks for a moment. @type {Record<string, {kind: MomentKind, what: string}>} */
const KINDS = {
  'participant.joined': { kind: 'people', what: 'joined' },
  'participant.left': { kind: 'people', what: 'left' },
  'participant.waiting': { kind: 'people', what: 'waiting' },
  'participant.admitted': { kind: 'people', what: 'admitted' },
  'participant.failed': { kind: 'failure', what: 'failed' },
  'consent.given': { kind: 'people', what: 'consented' },
  'consent.refused': { kind: 'people', what: 'refused' },
  'media.timeout': { kind: 'failure', what: 'timeout' },
  'media.stalled': { kind: 'failure', what: 'stalled' },
  'media.resumed': { kind: 'devices', what: 'resumed' },
  'quality.poor': { kind: 'failure', what: 'poor' },
  'quality.recovered': { kind: 'devices', what: 'recovered' },
  'recording.failed': { kind: 'failure', what: 'not_recorded' },
};

/** Gaps that are damage; silence and a muted source are none. */
export const DAMAGE = ['lost', 'overflow', 'clock'];

/** @param {Manifest} manifest @param {Lane[]} lanes @param {number} length @returns {Moment[]} */
export function recordingMoments(manifest, lanes, length) {
  const sources = new Map((manifest.tracks ?? []).map((t) => [t.track, t.source]));
  /** @type {Moment[]} */
  const moments = [];
  const add = (/** @type {Partial<Moment> & {ms: number, kind: MomentKind, what: string}} */ m) => {
    if (m.ms <= length) moments.push({ span: 0, participant: '', code: '', source: '', ...m, ms: Math.max(0, m.ms) });
  };
  for (const e of manifest.events ?? []) {
    const source = e.data?.source ?? sources.get(e.track ?? '') ?? '';
    const about = { ms: e.ms, participant: e.participant ?? '', code: e.code ?? '', source };
    const known = KINDS[e.type];
    if (known) add({ ...about, ...known });
    else if (e.type === 'note.track') noted(e, source).forEach((what) => add({ ...about, kind: 'devices', what }));
  }
  for (const lane of lanes) {
    for (const s of lane.speech) add({ ms: s.start, span: s.end - s.start, kind: 'speech', what: 'speaks', participant: lane.identity });
    for (const p of Object.values(lane.parts).flat()) {
      for (const g of p.gaps.filter((gap) => DAMAGE.includes(gap.reason))) {
        add({ ms: g.start, span: g.end - g.start, kind: 'failure', what: `gap_${g.reason}`, participant: lane.identity, source: p.source });
      }
    }
  }
  return moments.sort((a, b) => a.ms - b.ms);
}

/** What a note about a track says to a viewer. @param {Entry} e @param {string} source @returns {string[]} */
function noted(e, source) {
  const text = e.data?.text;
  if (source === 'screen') return text === 'published' ? ['screen_on'] : text === 'ended' ? ['screen_off'] : [];
  if (text === 'muted') return [`${source}_off`];
  return text === 'unmuted' ? [`${source}_on`] : [];
}
