// @ts-check
// How sources are encoded.

/** @typedef {import('./messages.js').Source} Source */

/**
 * Upper bounds; the bandwidth estimate stays below them.
 * @param {Source} source
 * @returns {RTCRtpEncodingParameters}
 */
export function encodingFor(source) {
  if (source === 'screen') return { maxBitrate: 2_500_000, maxFramerate: 15 };
  return { maxBitrate: 1_500_000 };
}

/**
 * A screen is read, not watched: where bandwidth lacks, frames are given up
 * and not sharpness.
 * @param {RTCRtpSender} sender
 */
export async function preferScreenQuality(sender) {
  try {
    const parameters = sender.getParameters();
    parameters.degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters);
  } catch {
    // Not every browser has the preference; contentHint says the same.
  }
}
