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
 */
/** @typedef {{call: CallView, events: JournalEvent[]}} Journal */

const PAGE = 50; // calls

/** The server refused, or was not to be reached (status 0). */
export class ApiError extends Error {
  /** @param {number} status of HTTP */
  constructor(status) {
    super(`HTTP ${status}`);
    this.status = status;
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
    const given = secret.trim();
    this.#authorization = given.includes(':') ? `Basic ${base64(given)}` : `Bearer ${given}`;
  }

  /**
   * Living and ended calls, the latest first.
   * @param {string} [before]  id of a call, for the next page
   * @returns {Promise<{calls: CallView[], next: string}>}
   */
  calls(before = '') {
    return this.#get(`/v1/calls?limit=${PAGE}${before ? `&before=${encodeURIComponent(before)}` : ''}`);
  }

  /** @param {string} call @returns {Promise<Journal>} */
  journal(call) {
    return this.#get(`/v1/calls/${encodeURIComponent(call)}/journal`);
  }

  /** @param {string} path */
  async #get(path) {
    const answer = await fetch(new URL(path, this.origin), {
      headers: { Authorization: this.#authorization }, credentials: 'omit', cache: 'no-store',
    }).catch(() => null);
    if (!answer?.ok) throw new ApiError(answer?.status ?? 0);
    return answer.json();
  }
}

/** @param {string} text */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
