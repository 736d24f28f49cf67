// @ts-check
// The way of the log when there is no socket: POST /v1/diag.

const BATCH = 100; // entries a request may hold

/**
 * Sends entries, and goes on doing so when the page is being closed. What can't
 * be sent is lost: there is no other way out. The server may know better why we
 * failed: browsers hide from pages why a socket does not open.
 * @param {string} origin
 * @param {string} token join token, maybe expired
 * @param {string} session "" if there never was one
 * @param {import('./messages.js').LogEntry[]} entries
 * @returns {Promise<string>} the code that the server knows, or ""
 */
export async function postDiagnostics(origin, token, session, entries) {
  let known = '';
  if (!token) return known;
  for (let i = 0; i < entries.length; i += BATCH) {
    const body = JSON.stringify({ session, entries: entries.slice(i, i + BATCH) });
    try {
      const response = await fetch(new URL('/v1/diag', origin), {
        method: 'POST', body, keepalive: body.length < 60_000, // the browser's limit for keepalive
        headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      });
      if (response.status === 200) known ||= String((await response.json()).code ?? '');
    } catch {
      return known;
    }
  }
  return known;
}
