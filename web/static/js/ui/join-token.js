// @ts-check
// What the page may know of the token before the server has checked it: whom
// to greet and which devices to ask for. Nothing is decided by it.

/**
 * @typedef {object} Claims
 * @property {string} [sub]
 * @property {string} [name]
 * @property {string} [role]
 * @property {string} [lang]
 * @property {string[]} [grants]
 */

/** @param {string} token @returns {Claims} */
export function readClaims(token) {
  try {
    const part = token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(part), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === 'object' && claims !== null ? claims : {};
  } catch {
    return {};
  }
}

/**
 * Which devices a person of the token will be able to use.
 * @param {Claims} claims
 * @returns {{mic: boolean, cam: boolean}}
 */
export function wantedDevices({ role, grants }) {
  if (Array.isArray(grants)) return { mic: grants.includes('publish.audio'), cam: grants.includes('publish.video') };
  return role === 'observer' ? { mic: false, cam: false } : { mic: true, cam: true };
}
