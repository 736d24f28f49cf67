// @ts-check
// Times and values as the pages of the administration write them.
import { lang } from '../lib/i18n.js';

/** @param {string} time RFC 3339 */
export function dateTime(time) {
  return new Intl.DateTimeFormat(lang.peek(), { dateStyle: 'medium', timeStyle: 'medium' }).format(new Date(time));
}

/** Hours, minutes and seconds. @param {number} ms */
export function clock(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return (parts[0] ? parts : parts.slice(1)).map((n) => String(n).padStart(2, '0')).join(':');
}

/** Since the start of the axis. @param {number} ms */
export function offset(ms) {
  return `${ms < 0 ? '−' : '+'}${(Math.abs(ms) / 1000).toFixed(2)} s`;
}

/** Values of an entry, one after the other; what says itself elsewhere is left out. @param {Record<string, any>} data */
export function details(data) {
  return Object.entries(data).filter(([key]) => !['text', 'client_time', 'device_ms', 'incident'].includes(key))
    .map(([key, value]) => `${key}: ${typeof value === 'object' ? JSON.stringify(value) : value}`).join(', ');
}
