// @ts-check
// A recording as its playback page reaches it: by the cookie that opens this
// one recording, or by credentials that get such a cookie.
import { ApiError, authorization } from './administration.js';

/**
 * The manifest, as far as the page reads it.
 * @typedef {object} Manifest
 * @property {string} call
 * @property {string} room
 * @property {string} [external_id]
 * @property {'live' | 'final' | 'recovered' | 'failed' | 'locked'} state
 * @property {string} started  RFC 3339: session time 0
 * @property {string} [ended]
 * @property {{number: number, identity: string, role?: string, name?: string}[]} participants
 * @property {TrackInfo[]} [tracks]
 * @property {Segment[]} [segments]
 * @property {Entry[]} [events]
 * @property {{algorithm: string}} [signature]
 */
/**
 * @typedef {object} TrackInfo
 * @property {string} track
 * @property {string} participant
 * @property {string} session
 * @property {'mic' | 'cam' | 'screen'} source
 * @property {number} started_ms
 * @property {number} [ended_ms]
 */
/**
 * @typedef {object} Segment
 * @property {string} file
 * @property {string} participant
 * @property {string} session
 * @property {string} track
 * @property {'mic' | 'cam' | 'screen'} source
 * @property {string} codec
 * @property {'live' | 'final' | 'recovered' | 'failed' | 'locked'} state
 * @property {{scheme: string, file: string, bytes: number}} [sealed]  as it lies on the disk
 * @property {number} t0_ms
 * @property {number} [drift_ppm]
 * @property {number} duration_ms
 * @property {number} bytes
 * @property {{ms: number, duration_ms: number, reason: string}[]} [gaps]
 * @property {{step_ms: number, source: string, levels: string}} [activity]
 */
/**
 * @typedef {object} Entry
 * @property {number} ms
 * @property {string} type
 * @property {string} [participant]
 * @property {string} [session]
 * @property {string} [track]
 * @property {string} [code]
 * @property {Record<string, any>} [data]
 */

/** @typedef {'closed' | 'missing' | 'sealed' | 'damaged' | 'unplayable'} FileFault */

/**
 * What a check of the files against their signed list found.
 * @typedef {{state: 'intact' | 'changed' | 'unfinished', files: number, away: number, findings: {file?: string, problem: string}[]}} Verification
 */

/** One recording on one server. */
export class RecordingAccess {
  #base;

  /** @param {string} origin of the server @param {string} id */
  constructor(origin, id) {
    this.id = id;
    this.#base = new URL(`/v1/recordings/${encodeURIComponent(id)}`, origin).href;
  }

  /** @returns {Promise<Manifest>} */
  async manifest() {
    return (await this.#ask('', {})).json();
  }

  /** Where a file is. @param {string} name */
  file(name) {
    return `${this.#base}/files/${encodeURIComponent(name)}`;
  }

  /** Gets this browser its cookie. @param {string} secret as in the administration */
  async signIn(secret) {
    await this.#ask('/playback', { method: 'POST', headers: { Authorization: authorization(secret) } });
  }

  /**
   * What is below the recording, or null where the server has no such thing.
   * @param {string} path
   */
  async part(path) {
    try {
      return await (await this.#ask(path, {})).json();
    } catch (error) {
      if (error instanceof ApiError && [403, 404, 405, 501].includes(error.status)) return null;
      throw error;
    }
  }

  /** @param {string} path @param {any} body */
  async post(path, body) {
    return (await this.#ask(path, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
    })).json();
  }

  /** Has the server read every file and compare it. @returns {Promise<Verification>} */
  async verify() {
    return (await this.#ask('/verify', { method: 'POST' })).json();
  }

  /** @param {string} path */
  async remove(path) {
    await this.#ask(path, { method: 'DELETE' });
  }

  /**
   * Why a file does not play: a media element does not say.
   * @param {string} name @returns {Promise<FileFault>}
   */
  async fault(name) {
    try {
      await this.#ask(`/files/${encodeURIComponent(name)}`, { headers: { Range: 'bytes=0-0' } });
      return 'unplayable';
    } catch (error) {
      const { status, code } = /** @type {ApiError} */ (error);
      if (status === 401 || status === 403) return 'closed';
      if (status === 404 || status === 410) return 'missing';
      return code === 'sealed' || code === 'damaged' ? code : 'unplayable';
    }
  }

  /** @param {string} path @param {RequestInit} options */
  async #ask(path, options) {
    const answer = await fetch(this.#base + path, { cache: 'no-store', credentials: 'same-origin', ...options }).catch(() => null);
    if (!answer) throw new ApiError(0);
    if (!answer.ok) throw new ApiError(answer.status, await answer.json().catch(() => ({})));
    return answer;
  }
}
