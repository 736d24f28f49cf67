// @ts-check
// A link to a file of a recording, with its size.
import { h, icon } from '../lib/element.js';
import { lang } from '../lib/i18n.js';

/** @typedef {import('../client/recording.js').RecordingAccess} RecordingAccess */

/** @param {RecordingAccess} access @param {string} file @param {number} bytes @param {string} [name]  as the file is called on the page */
export function download(access, file, bytes, name = '') {
  return h('a', { class: 'file-link', href: `${access.file(file)}?download=1`, download: file, 'data-testid': 'download-file' },
    icon('download'), h('span', {}, name ? `${name}, ${size(bytes)}` : size(bytes)), h('span', { class: 'visually-hidden' }, ` ${file}`));
}

/** @param {number} bytes */
function size(bytes) {
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, 'kilobyte'] : [bytes / 1e6, 'megabyte'];
  return new Intl.NumberFormat(lang.peek(), { style: 'unit', unit, maximumFractionDigits: value < 10 ? 1 : 0 }).format(value);
}
