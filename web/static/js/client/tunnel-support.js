// @ts-check
// Whether this browser can send and play media without an RTCPeerConnection.

/** What is missing for the tunnel, or "". @param {object} [browser] */
export function tunnelProblem(browser = globalThis) {
  const needed = [
    'VideoEncoder', 'VideoDecoder', 'AudioEncoder', 'AudioDecoder', 'AudioWorkletNode', 'OffscreenCanvas',
    'EncodedAudioChunk', 'EncodedVideoChunk', 'AudioData', 'VideoFrame',
  ];
  return needed.filter((name) => !(name in browser)).join(' ');
}
