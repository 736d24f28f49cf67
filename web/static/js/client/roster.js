// @ts-check
// Who is in the call, and which of our m-lines shows whom.
import { signal } from '../lib/signal.js';

/** @typedef {import('./messages.js').Participant} Participant */
/** @typedef {import('./messages.js').Seat} Seat */
/** @typedef {import('./messages.js').TrackInfo} TrackInfo */

/**
 * What one tile shows: a participant's camera (with or without a picture) or
 * one screen.
 * @typedef {object} TileInfo
 * @property {string} key  the same for as long as the tile should stay in place
 * @property {Participant} participant
 * @property {string} session
 * @property {'cam' | 'screen'} source
 * @property {TrackInfo | null} video
 * @property {TrackInfo | null} audio
 * @property {Seat | null} seat
 */

export class Roster {
  /** Everybody but oneself, in the order of arrival. */
  others = signal(/** @type {Participant[]} */ ([]));
  self = signal(/** @type {Participant | null} */ (null));
  seats = signal(/** @type {Seat[]} */ ([]));
  /** The last time somebody muted us. */
  mutedBy = signal(/** @type {import('./messages.js').Muted | null} */ (null));
  #identity = '';

  /** The track an m-line receives. @type {(mid: string) => MediaStreamTrack | null} */
  receive = () => null;

  /** @param {string} identity one's own */
  reset(identity) {
    this.#identity = identity;
    this.seats.value = [];
  }

  /** @param {Participant[]} participants */
  replace(participants) {
    const order = this.others.peek().map((p) => p.identity);
    const place = (/** @type {Participant} */ p) => (order.indexOf(p.identity) + 1) || Infinity;
    const others = participants.filter((p) => p.identity !== this.#identity);
    this.others.value = others.sort((a, b) => (place(a) === place(b) ? 0 : place(a) - place(b)));
    this.self.value = participants.find((p) => p.identity === this.#identity) ?? null;
  }

  /** @param {Participant} participant */
  change(participant) {
    if (participant.identity === this.#identity) {
      this.self.value = participant;
      return;
    }
    const others = [...this.others.peek()];
    const at = others.findIndex((p) => p.identity === participant.identity);
    if (at < 0) others.push(participant);
    else others[at] = participant;
    this.others.value = others;
  }

  /** @param {string} identity */
  leave(identity) {
    this.others.value = this.others.peek().filter((p) => p.identity !== identity);
  }

  /** @param {Seat[]} seats */
  seat(seats) {
    this.seats.value = seats;
  }

  /** Those who wait to be admitted. */
  waiting() {
    return this.others.value.filter((p) => p.state === 'waiting');
  }

  /** @param {string} identity */
  name(identity) {
    const p = this.others.peek().find((other) => other.identity === identity);
    return p?.name || identity;
  }

  /** @returns {TileInfo[]} */
  tiles() {
    const seats = this.seats.value;
    /** @type {TileInfo[]} */
    const tiles = [];
    for (const participant of this.others.value) {
      if (participant.state !== 'waiting') tiles.push(...tilesOf(participant, seats));
    }
    return tiles;
  }

  /** Track id by mid, of everything seated. */
  tracksByMid() {
    /** @type {Map<string, string>} */
    const map = new Map();
    for (const s of this.seats.peek()) {
      if (s.audio && s.audio_track) map.set(s.audio, s.audio_track);
      if (s.video && s.video_track) map.set(s.video, s.video_track);
    }
    return map;
  }
}

/** @param {Participant} participant @param {Seat[]} seats @returns {TileInfo[]} */
function tilesOf(participant, seats) {
  /** @type {TileInfo[]} */
  const tiles = [];
  const sessions = participant.sessions?.length ? participant.sessions : [''];
  sessions.forEach((session, index) => {
    const tracks = (participant.tracks ?? []).filter((t) => t.session === session);
    const find = (/** @type {string} */ source) => tracks.find((t) => t.source === source) ?? null;
    const mine = seats.filter((s) => s.participant === participant.identity && s.session === session);
    const screen = find('screen');
    const base = { participant, session };
    // A session that sends only a screen needs no empty face beside it.
    if (index === 0 || find('cam') || find('mic')) {
      tiles.push({
        ...base, key: `${participant.identity}/cam/${index}`, source: 'cam',
        video: find('cam'), audio: find('mic'), seat: mine.find((s) => s.audio !== '') ?? null,
      });
    }
    if (screen) {
      tiles.push({
        ...base, key: `${participant.identity}/screen/${index}`, source: 'screen',
        video: screen, audio: null, seat: mine.find((s) => s.video_track === screen.id) ?? null,
      });
    }
  });
  return tiles;
}
