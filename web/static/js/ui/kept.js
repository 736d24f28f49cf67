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

const TUNNELLED = 'consilium.tunnelled';

/** Whether only HTTP got through the last time. */
export function recallTunnelled() {
  try {
    return sessionStorage.getItem(TUNNELLED) !== null;
  } catch {
    return false; // storage is off
  }
}

/** @param {boolean} tunnelled */
export function keepTunnelled(tunnelled) {
  try {
    if (tunnelled) sessionStorage.setItem(TUNNELLED, '1');
    else sessionStorage.removeItem(TUNNELLED);
  } catch {
    // Storage is off: a reload tries every way again.
  }
}
