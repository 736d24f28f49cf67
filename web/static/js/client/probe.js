// @ts-check
// One way to the server, and no other: a connection by WHIP (sending) or WHEP
// (receiving) that may use the candidates of one kind only.

const TIMEOUT = 9; // seconds from the offer to the connection

/** @typedef {{urls: string[], username: string, credential: string}} Relay */
/**
 * What a connection may use: candidates of the server by protocol, or relays.
 * @typedef {object} Way
 * @property {'udp' | 'tcp' | ''} direct  protocol of the server's candidates; "": all of them
 * @property {Relay | null} relay  nothing but this relay
 */

export class Probe {
  #location = '';

  /**
   * @param {string} origin of the server
   * @param {{room: string, token: string}} place  a room of one's own
   * @param {Way} way
   */
  constructor(origin, place, way) {
    this.origin = origin;
    this.place = place;
    this.way = way;
    this.pc = new RTCPeerConnection({
      iceServers: way.relay ? [way.relay] : [], iceTransportPolicy: way.relay ? 'relay' : 'all', bundlePolicy: 'max-bundle',
    });
  }

  /** Sends these tracks. @param {MediaStreamTrack[]} tracks @returns {Promise<number>} ms until connected */
  send(tracks) {
    for (const track of tracks) this.pc.addTransceiver(track, { direction: 'sendonly' });
    return this.#connect(`/whip/${this.place.room}`);
  }

  /** Receives what somebody sends, oneself perhaps. @param {string} identity @returns {Promise<number>} ms until connected */
  receive(identity) {
    for (const kind of ['audio', 'video']) this.pc.addTransceiver(kind, { direction: 'recvonly' });
    return this.#connect(`/whep/${this.place.room}/${identity}`);
  }

  /** @param {string} path @returns {Promise<number>} */
  async #connect(path) {
    const { pc } = this;
    const begun = performance.now();
    await pc.setLocalDescription();
    const response = await fetch(new URL(path, this.origin), {
      method: 'POST', body: pc.localDescription?.sdp,
      headers: { 'Content-Type': 'application/sdp', Authorization: `Bearer ${this.place.token}` },
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    this.#location = new URL(response.headers.get('Location') ?? '', response.url).href;
    await pc.setRemoteDescription({ type: 'answer', sdp: only(this.way.direct, await response.text()) });
    await connected(pc, TIMEOUT - (performance.now() - begun) / 1000);
    return Math.round(performance.now() - begun);
  }

  /** Ends it on both sides. */
  async close() {
    if (this.#location) {
      await fetch(this.#location, {
        method: 'DELETE', keepalive: true, headers: { Authorization: `Bearer ${this.place.token}` },
      }).catch(() => {}); // the server ends it by itself, later
    }
    this.pc.close(); // only now: it would end the session first
  }
}

/**
 * Leaves the candidates of one protocol in an answer.
 * @param {'udp' | 'tcp' | ''} protocol @param {string} sdp
 */
export function only(protocol, sdp) {
  if (!protocol) return sdp;
  return sdp.split('\r\n')
    .filter((line) => !line.startsWith('a=candidate:') || line.split(' ')[2]?.toLowerCase() === protocol)
    .join('\r\n');
}

/** @param {RTCPeerConnection} pc @param {number} seconds @returns {Promise<void>} */
function connected(pc, seconds) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('timeout')), Math.max(0, seconds) * 1000);
    const look = () => {
      if (pc.connectionState === 'connected') resolve();
      else if (pc.connectionState === 'failed') reject(new Error('failed'));
      else return;
      clearTimeout(timer);
    };
    pc.addEventListener('connectionstatechange', look);
    look();
  });
}
