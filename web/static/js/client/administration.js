// @ts-check
// The HTTP API as an administrator uses it. The credentials live in this object
// and nowhere else.

/**
 * @typedef {object} CallView
 * @property {string} id
 * @property {string} room
 * @property {string} [external_id]
 * @property {'live' | 'ended'} state
 * @property {string} started  RFC 3339
 * @property {string} [ended]
 * @property {string[]} codes  of what failed
 * @property {{identity: string, name?: string, role?: string, state: string}[]} participants
 */
/**
 * @typedef {object} JournalEvent
 * @property {string} id
 * @property {string} type
 * @property {string} time  RFC 3339
 * @property {string} [participant]
 * @property {string} [track]
 * @property {string} [code]
 * @property {string} [stage]
 * @property {'out' | 'in'} [direction]
 * @property {Record<string, any>} [evidence]
 * @property {Record<string, any>} data
 * @property {string} [call]
 * @property {string} at  when it happened, by the server's clock
 * @property {'client' | 'server'} side  who saw it
 */
/** @typedef {{name: string, side: 'client' | 'server', session?: string, began: string, ms: number | null, code?: string}} Stage */
/** @typedef {{at: string, state: string}[]} States */
/**
 * @typedef {object} ParticipantSummary
 * @property {string} identity
 * @property {{offset_ms: number, accuracy_ms: number | null, method: string, samples: number}[]} clocks
 * @property {Stage[]} stages
 * @property {{type?: string, protocol?: string, address?: string, port?: number, reason: string}[]} candidates
 * @property {Record<'client' | 'server', {ice: States, dtls: States, signaling: States}>} states
 * @property {{path: string, protocol: string, after_ms: number, rescued?: string, pair?: Record<string, any>} | null} path
 */
/** @typedef {{call: CallView, events: JournalEvent[], participants: ParticipantSummary[]}} Journal */
/**
 * What calls are wanted; empty values want all.
 * @typedef {{state?: string, code?: string, from?: string, to?: string}} CallFilter
 */

const PAGE = 50; // calls

/** The server refused, or was not to be reached (status 0). */
export class ApiError extends Error {
  /** @param {number} status of HTTP @param {{code?: string, detail?: string}} [problem]  RFC 9457, if the server sent one */
  constructor(status, { code = '', detail = '' } = {}) {
    super(`HTTP ${status}`);
    this.status = status;
    this.code = code;
    /** English. */
    this.detail = detail;
  }
}

export class Administration {
  #authorization;

  /**
   * @param {string} origin of the server
   * @param {string} secret  KEY:SECRET of an API key, or a token of role admin
   */
  constructor(origin, secret) {
    this.origin = origin;
    this.#authorization = authorization(secret);
  }

  /**
   * Living and ended calls, the latest first.
   * @param {CallFilter} [filter]
   * @param {string} [before]  id of a call, for the next page
   * @returns {Promise<{calls: CallView[], next: string}>}
   */
  calls(filter = {}, before = '') {
    const query = new URLSearchParams({ limit: String(PAGE) });
    for (const [name, value] of Object.entries({ ...filter, before })) if (value) query.set(name, value);
    return this.#json(`/v1/calls?${query}`);
  }

  /** Everything that has an incident number. @param {string} number as somebody said it @returns {Promise<JournalEvent[]>} */
  async incident(number) {
    const { events } = await this.#json(`/v1/events?${new URLSearchParams({ incident: number })}`);
    return events;
  }

  /** @param {string} call @returns {Promise<Journal>} */
  journal(call) {
    return this.#json(`/v1/calls/${encodeURIComponent(call)}/journal`);
  }

  /** A participant's rtcstats dump. @param {string} call @param {string} participant */
  async dump(call, participant) {
    const query = new URLSearchParams({ format: 'rtcstats', participant });
    return (await this.#get(`/v1/calls/${encodeURIComponent(call)}/journal?${query}`)).blob();
  }

  /**
   * Opens the recording of a call for this browser. Returns where its page is.
   * @param {string} call @returns {Promise<string>}
   */
  async recording(call) {
    const path = `/v1/recordings/${encodeURIComponent(call)}/playback`;
    return (await (await this.#get(path, { method: 'POST', credentials: 'same-origin' })).json()).url; // it sets a cookie
  }

  /** @param {string} path */
  async #json(path) {
    return (await this.#get(path)).json();
  }

  /** @param {string} path @param {RequestInit} [options] */
  async #get(path, options = {}) {
    const answer = await fetch(new URL(path, this.origin), {
      headers: { Authorization: this.#authorization }, credentials: 'omit', cache: 'no-store', ...options,
    }).catch(() => null);
    if (!answer?.ok) throw new ApiError(answer?.status ?? 0);
    return answer;
  }
}

/**
 * The header for what somebody typed.
 * @param {string} secret  KEY:SECRET of an API key, or a token
 */
export function authorization(secret) {
  const given = secret.trim();
  return given.includes(':') ? `Basic ${base64(given)}` : `Bearer ${given}`;
}

/** @param {string} text */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
