// @ts-check
// From what the browser says to a failure code. The list of codes is that of
// the server; words for each are in the catalogues.

/**
 * @typedef {object} IceEvidence
 * @property {Record<RTCIceCandidateType, number>} candidates  gathered, by type
 * @property {{code: number, url: string}[]} errors  of icecandidateerror
 */

// TURN error codes that mean "not with these credentials" (RFC 8656 section 19).
const TURN_REFUSALS = [401, 403, 438, 441, 486];

/**
 * Why there is no connection.
 * @param {RTCPeerConnection} pc
 * @param {IceEvidence} evidence
 * @returns {{code: string, stage: string}}
 */
export function diagnoseConnection(pc, { candidates, errors }) {
  if (['connected', 'completed'].includes(pc.iceConnectionState)) return { code: 'DTLS_FAILED', stage: 'dtls' };
  const { host, srflx, relay } = candidates;
  if (relay === 0 && errors.some((e) => TURN_REFUSALS.includes(e.code))) return { code: 'TURN_AUTH', stage: 'ice' };
  if (host + srflx + relay === 0) return { code: 'NO_CANDIDATES', stage: 'ice' };
  return { code: 'NO_ROUTE', stage: 'ice' };
}

/**
 * Why a device could not be had.
 * @param {unknown} error what getUserMedia threw
 * @param {'mic' | 'cam'} source
 * @returns {string} code
 */
export function diagnoseDevice(error, source) {
  const prefix = source === 'mic' ? 'MIC' : 'CAM';
  const name = error instanceof Error ? error.name : '';
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return `${prefix}_DENIED`;
    case 'NotReadableError':
    case 'AbortError':
      return `${prefix}_BUSY`;
    default:
      return `${prefix}_NONE`;
  }
}

// Browsers inside other apps: they often have no camera and never say so.
const IN_APP = /\bFBAN|\bFBAV|Instagram|\bLine\/|WhatsApp|Telegram|\bVKAndroidApp|\bVKClient|OKApp|\bGSA\//;

/**
 * What is wrong with the page or the browser before anything is asked for.
 * @returns {string | null} code, or null when nothing is
 */
export function diagnoseBrowser() {
  if (!globalThis.isSecureContext) return 'INSECURE_PAGE';
  const able = 'RTCPeerConnection' in globalThis && 'WebSocket' in globalThis && navigator.mediaDevices
    && 'addTransceiver' in RTCPeerConnection.prototype;
  if (able) return null;
  return IN_APP.test(navigator.userAgent) ? 'IN_APP_BROWSER' : 'BROWSER_OLD';
}

/** Whether this is a browser inside another app (it may still work). */
export function inAppBrowser() {
  return IN_APP.test(navigator.userAgent);
}
