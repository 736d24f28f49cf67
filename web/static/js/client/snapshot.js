// @ts-check
// What of getStats() the log keeps: enough to see where media was lost, and a
// few kilobytes.

/** @typedef {Record<string, Record<string, any>>} Snapshot  statistics by id */

const MAX_OBJECTS = 60;

/** What is kept, by type (webrtc-stats). @type {Record<string, string[]>} */
const FIELDS = {
  'inbound-rtp': ['kind', 'mid', 'ssrc', 'packetsReceived', 'packetsLost', 'bytesReceived', 'jitter', 'framesDecoded',
    'framesReceived', 'framesDropped', 'keyFramesDecoded', 'frameWidth', 'frameHeight', 'framesPerSecond', 'freezeCount',
    'totalFreezesDuration', 'nackCount', 'pliCount', 'concealedSamples', 'totalSamplesReceived', 'audioLevel',
    'jitterBufferDelay', 'jitterBufferEmittedCount', 'codecId', 'transportId'],
  'outbound-rtp': ['kind', 'mid', 'rid', 'ssrc', 'active', 'packetsSent', 'bytesSent', 'framesEncoded', 'keyFramesEncoded',
    'frameWidth', 'frameHeight', 'framesPerSecond', 'qualityLimitationReason', 'nackCount', 'pliCount',
    'retransmittedPacketsSent', 'targetBitrate', 'codecId', 'remoteId', 'mediaSourceId', 'transportId'],
  'remote-inbound-rtp': ['kind', 'ssrc', 'packetsLost', 'fractionLost', 'jitter', 'roundTripTime', 'localId'],
  'candidate-pair': ['state', 'nominated', 'selected', 'bytesSent', 'bytesReceived', 'currentRoundTripTime',
    'availableOutgoingBitrate', 'requestsSent', 'responsesReceived', 'localCandidateId', 'remoteCandidateId', 'transportId'],
  'local-candidate': ['candidateType', 'protocol', 'address', 'port', 'relayProtocol', 'networkType', 'url'],
  'remote-candidate': ['candidateType', 'protocol', 'address', 'port'],
  transport: ['iceState', 'dtlsState', 'dtlsRole', 'selectedCandidatePairId', 'tlsVersion', 'dtlsCipher', 'srtpCipher',
    'bytesSent', 'bytesReceived'],
  codec: ['mimeType', 'payloadType', 'clockRate', 'channels'],
  'media-source': ['kind', 'audioLevel', 'framesPerSecond', 'width', 'height'],
};

/** What refers to another object, and so asks for it. */
const REFERENCES = ['codecId', 'localCandidateId', 'remoteCandidateId'];
const REFERRED = ['codec', 'local-candidate', 'remote-candidate'];

/** @param {Iterable<[string, any]>} report  an RTCStatsReport @returns {Snapshot} */
export function snapshot(report) {
  const all = new Map(report);
  /** @type {Snapshot} */
  const kept = {};
  const keep = (/** @type {string} */ id) => {
    const s = all.get(id);
    const fields = s && FIELDS[s.type];
    if (!fields || kept[id] || Object.keys(kept).length >= MAX_OBJECTS) return;
    kept[id] = { type: s.type, timestamp: Math.round(s.timestamp) };
    for (const name of fields) if (s[name] !== undefined) kept[id][name] = s[name];
    for (const name of REFERENCES) if (s[name]) keep(s[name]);
  };
  for (const [id, s] of all) if (!REFERRED.includes(s.type) && used(s)) keep(id);
  return kept;
}

/** An m-line nobody sits on and a pair that was never tried say nothing. @param {any} s */
function used(s) {
  if (s.type === 'inbound-rtp') return s.packetsReceived > 0;
  if (s.type === 'candidate-pair') return !['frozen', 'waiting'].includes(s.state);
  return true;
}

/**
 * What is new since the last time: properties that changed, whole objects that
 * are new, null for those that are gone.
 * @param {Snapshot} before @param {Snapshot} now
 */
export function changed(before, now) {
  /** @type {Record<string, Record<string, any> | null>} */
  const news = {};
  for (const [id, s] of Object.entries(now)) {
    const old = before[id] ?? {};
    news[id] = Object.fromEntries(Object.entries(s).filter(([name, value]) => value !== old[name]));
  }
  for (const id of Object.keys(before)) if (!now[id]) news[id] = null;
  return news;
}

/** The pair that carries the media, in a few words; null if none does. @param {Snapshot} stats */
export function selectedPair(stats) {
  const all = Object.values(stats);
  const id = all.find((s) => s.type === 'transport')?.selectedCandidatePairId;
  const pair = stats[id] ?? all.find((s) => s.type === 'candidate-pair' && (s.selected || (s.nominated && s.state === 'succeeded')));
  if (!pair) return null;
  const end = (/** @type {string} */ candidate) => {
    const { candidateType: type, protocol, relayProtocol: relay_protocol, networkType: network } = stats[candidate] ?? {};
    return { type, protocol, relay_protocol, network };
  };
  return { local: end(pair.localCandidateId), remote: end(pair.remoteCandidateId), round_trip: pair.currentRoundTripTime };
}
