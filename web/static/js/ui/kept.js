// @ts-check
// What a page keeps for its own reload: the session's secret, the consent and
// the choice of devices. sessionStorage: it ends with the tab.

/**
 * @typedef {object} Kept
 * @property {string} secret
 * @property {string} token
 * @property {import('../client/messages.js').Consent} [consent]
 * @property {{mic: string, cam: string, speaker: string}} choice
 * @property {{mic: boolean, cam: boolean}} muted
 */

/** @param {string} room */
const key = (room) => `consilium.session.${room}`;

/** @param {string} room @returns {Kept | null} */
export function recall(room) {
  try {
    return JSON.parse(sessionStorage.getItem(key(room)) ?? 'null');
  } catch {
    return null; // storage is off, or not ours
  }
}

/** @param {string} room @param {Kept | null} kept null: forget */
export function keep(room, kept) {
  try {
    if (kept) sessionStorage.setItem(key(room), JSON.stringify(kept));
    else sessionStorage.removeItem(key(room));
  } catch {
    // Storage is off: a reload asks again.
  }
}
