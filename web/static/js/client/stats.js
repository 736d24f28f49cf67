// @ts-check
// What was decoded so far, by track, and what the connection measures.

/** @typedef {import('./messages.js').Decoded} Decoded */
/** @typedef {import('./messages.js').Report} Report */
/** @typedef {{frames: number, received: number, samples: number, lost: number, jitter: number}} Counts */

export class StatsReporter {
  /** By mid: what was counted last, and what came of the present track. @type {Map<string, {track: string, last: Counts, sum: Counts}>} */
  #lines = new Map();

  /** @param {RTCPeerConnection} pc */
  constructor(pc) {
    this.pc = pc;
  }

  /**
   * @param {Map<string, string>} tracks track id by mid
   * @param {boolean} [hidden]  the page is in the background: browsers then
   *   decode no pictures, and a frame counts as soon as it has arrived
   * @returns {Promise<Report>}
   */
  async collect(tracks, hidden = false) {
    const mids = new Map(this.pc.getTransceivers().map((t) => [t.receiver.track.id, t.mid ?? '']));
    /** @type {Record<string, Decoded>} */
    const decoded = {};
    /** @type {Record<string, number>} */
    const stats = {};
    for (const s of (await this.pc.getStats()).values()) {
      if (s.type === 'inbound-rtp') {
        const mid = s.mid ?? mids.get(s.trackIdentifier) ?? '';
        const track = tracks.get(mid);
        if (track) decoded[track] = this.#add(mid, track, counts(s), s.kind, hidden);
      } else connectionStats(s, stats);
    }
    return { decoded, stats };
  }

  /**
   * An m-line changes hands and its counters go on: what the new track has is
   * the difference.
   * @param {string} mid @param {string} track @param {Counts} now @param {string} kind @param {boolean} hidden
   * @returns {Decoded}
   */
  #add(mid, track, now, kind, hidden) {
    let line = this.#lines.get(mid);
    if (line?.track !== track) {
      line = { track, last: line ? now : ZERO, sum: { ...ZERO } };
      this.#lines.set(mid, line);
    }
    const { last, sum } = line;
    const frames = Math.max(0, now.frames - last.frames);
    sum.frames += hidden ? Math.max(frames, now.received - last.received) : frames;
    sum.samples += Math.max(0, now.samples - last.samples);
    sum.lost += now.lost - last.lost;
    line.last = now;
    const { lost } = sum;
    return kind === 'video' ? { frames: sum.frames, lost, jitter: now.jitter } : { samples: sum.samples, lost, jitter: now.jitter };
  }
}

/** @type {Counts} */
const ZERO = { frames: 0, received: 0, samples: 0, lost: 0, jitter: 0 };

/** @param {any} s an RTCInboundRtpStreamStats @returns {Counts} */
function counts(s) {
  return {
    frames: s.framesDecoded ?? 0,
    received: s.framesReceived ?? 0,
    samples: s.totalSamplesReceived ?? 0,
    lost: s.packetsLost ?? 0,
    jitter: s.jitter ?? 0,
  };
}

/**
 * The numbers of the connection that the journal keeps.
 * @param {any} s @param {Record<string, number>} into
 */
function connectionStats(s, into) {
  if (s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded') {
    if (s.currentRoundTripTime !== undefined) into.round_trip = s.currentRoundTripTime;
    if (s.availableOutgoingBitrate !== undefined) into.available_out = s.availableOutgoingBitrate;
  } else if (s.type === 'outbound-rtp') {
    into[`${s.kind}_out_bytes`] = (into[`${s.kind}_out_bytes`] ?? 0) + (s.bytesSent ?? 0);
    if (s.kind === 'video' && s.framesEncoded !== undefined) {
      into.video_out_frames = (into.video_out_frames ?? 0) + s.framesEncoded;
    }
    if (s.qualityLimitationReason === 'cpu') into.cpu_limited = 1;
  } else if (s.type === 'remote-inbound-rtp') {
    if (s.fractionLost !== undefined) into[`${s.kind}_out_lost`] = s.fractionLost;
  }
}
