// @ts-check
// The way of the log when there is no socket: POST /v1/diag.

import { learnIncidents } from './incidents.js';
import { batches } from './log.js';

const BATCH = 100; // entries a request may hold
const BATCH_BYTES = 55_000; // the server takes 64 KiB, and keepalive in browsers is for less than that

/**
 * Sends entries, and goes on doing so when the page is being closed. What can't
 * be sent is lost: there is no other way out. The server may know better why we
 * failed: browsers hide from pages why a socket does not open. It also tells the
 * incident numbers of what failed.
 * @param {string} origin
 * @param {string} token join token, maybe expired
 * @param {string} session "" if there never was one
 * @param {import('./messages.js').LogEntry[]} entries
 * @returns {Promise<string>} the code that the server knows, or ""
 */
export async function postDiagnostics(origin, token, session, entries) {
  let known = '';
  if (!token) return known;
  for (const batch of batches(entries, BATCH, BATCH_BYTES)) {
    const body = JSON.stringify({ session, entries: batch });
    try {
      const response = await fetch(new URL('/v1/diag', origin), {
        method: 'POST', body, keepalive: body.length < 60_000, // the browser's limit for keepalive
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      });
      if (response.status !== 200) continue;
      const { code, incidents } = await response.json();
      learnIncidents(incidents);
      known ||= String(code ?? '');
    } catch {
      return known;
    }
  }
  return known;
}
