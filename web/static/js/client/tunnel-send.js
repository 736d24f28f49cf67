// @ts-check
// Encodes what this person sends, where no RTCPeerConnection does it.
import { eachPicture } from '../lib/pictures.js';
import { CODECS } from './tunnel-frame.js';

const AUDIO_BITRATE = 28_000;
const OPUS_FRAME = 20_000; // µs
const KEEP_UP = 2; // frames that may wait for the encoder
const SLOW = 450; // ms on the way from which on we send less
const STOP = 800; // ms on the way from which on no pictures are sent
const FAST = 250; // ms on the way below which there is room for more
const DOWN_AFTER = 1500; // ms between two steps down
const UP_AFTER = 8000; // ms of room before a step up

/**
 * @typedef {object} Step
 * @property {number} bitrate  bit/s
 * @property {number} size  of the longer side, pixels
 * @property {number} rate  pictures a second
 */
/** From the best downwards. @type {Record<'cam' | 'screen', Step[]>} */
const STEPS = {
  cam: [
    { bitrate: 600_000, size: 640, rate: 20 },
    { bitrate: 400_000, size: 640, rate: 15 },
    { bitrate: 250_000, size: 480, rate: 15 },
    { bitrate: 150_000, size: 320, rate: 12 },
    { bitrate: 80_000, size: 320, rate: 8 },
  ],
  screen: [
    { bitrate: 700_000, size: 1280, rate: 6 },
    { bitrate: 400_000, size: 1280, rate: 4 },
    { bitrate: 200_000, size: 960, rate: 2 },
  ],
};

/**
 * Microseconds on the one clock of all that we send. It does not count from
 * 1970: Firefox's encoder of sound loses times that large.
 * @param {number} ms of performance.now()
 */
const clock = (ms) => Math.round(ms * 1000);

/** @typedef {import('./tunnel-socket.js').TunnelSocket} TunnelSocket */

/** Sends a microphone. */
export class AudioSender {
  /** @type {AudioEncoder | null} */ #encoder = null;
  /** @type {AudioNode[]} */ #nodes = [];
  #next = 0; // time of the next block, µs

  /** @param {AudioContext} context with tunnel-worklet.js @param {TunnelSocket} socket @param {string} mid */
  constructor(context, socket, mid) {
    this.context = context;
    this.socket = socket;
    this.mid = mid;
  }

  /** @param {MediaStreamTrack | null} track null: nothing is sent */
  replace(track) {
    this.stop();
    if (!track) return;
    const { sampleRate } = this.context;
    const encoder = new AudioEncoder({
      output: (chunk) => this.socket.sendFrame(this.mid, CODECS.opus, chunk),
      error: () => this.replace(track),
    });
    this.#encoder = encoder;
    encoder.configure(/** @type {AudioEncoderConfig} */ ({
      codec: 'opus', sampleRate, numberOfChannels: 1, bitrate: AUDIO_BITRATE, opus: { frameDuration: OPUS_FRAME },
    }));
    const source = this.context.createMediaStreamSource(new MediaStream([track]));
    const tap = new AudioWorkletNode(this.context, 'microphone-tap', { numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit' });
    tap.port.onmessage = ({ data }) => this.#encode(data, sampleRate);
    source.connect(tap);
    this.#nodes = [source, tap];
  }

  stop() {
    for (const node of this.#nodes) node.disconnect();
    this.#nodes = [];
    if (this.#encoder && this.#encoder.state !== 'closed') this.#encoder.close();
    this.#encoder = null;
    this.#next = 0;
  }

  /** @param {Float32Array<ArrayBuffer>} samples @param {number} sampleRate */
  #encode(samples, sampleRate) {
    if (this.#encoder?.state !== 'configured') return;
    const length = samples.length / sampleRate * 1e6;
    const now = clock(performance.now()) - length;
    // Blocks follow one another without gaps; what they stand for is looked up
    // again only when the clocks have come apart.
    if (Math.abs(now - this.#next) > 200_000) this.#next = now;
    const data = new AudioData({
      format: 'f32-planar', sampleRate, numberOfFrames: samples.length, numberOfChannels: 1,
      timestamp: Math.round(this.#next), data: samples,
    });
    this.#next += length;
    this.#encoder.encode(data);
    data.close();
  }
}

/** Sends a camera or a screen. */
export class VideoSender {
  /** @type {VideoEncoder | null} */ #encoder = null;
  #canvas = new OffscreenCanvas(2, 2);
  #stop = () => {};
  #step = 0;
  #configured = '';
  #key = true;
  #last = 0; // ms, the last picture that was encoded
  #changed = 0; // ms, the last step
  #tight = 0; // ms, when there was last no room
  frames = 0;

  /** @param {TunnelSocket} socket @param {string} mid @param {'cam' | 'screen'} source */
  constructor(socket, mid, source) {
    this.socket = socket;
    this.mid = mid;
    this.steps = STEPS[source];
  }

  /** @param {MediaStreamTrack | null} track null: nothing is sent */
  replace(track) {
    this.stop();
    if (track) this.#stop = eachPicture(track, (picture, width, height) => this.#picture(picture, width, height));
  }

  stop() {
    this.#stop();
    this.#stop = () => {};
    if (this.#encoder && this.#encoder.state !== 'closed') this.#encoder.close();
    this.#encoder = null;
    this.#configured = '';
    this.#key = true;
  }

  keyframe() {
    this.#key = true;
  }

  /** @param {CanvasImageSource} picture @param {number} width @param {number} height */
  #picture(picture, width, height) {
    const now = performance.now();
    this.#adapt(now);
    const { size, rate } = this.steps[this.#step];
    const busy = this.socket.age > STOP || (this.#encoder?.encodeQueueSize ?? 0) > KEEP_UP;
    if (busy || !width || now - this.#last < 1000 / rate - 8) return;
    this.#last = now;
    const scale = Math.min(1, size / Math.max(width, height));
    const canvas = this.#canvas;
    const [w, h] = [width, height].map((side) => Math.max(2, Math.round(side * scale / 2) * 2));
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const context = canvas.getContext('2d', { alpha: false, willReadFrequently: true });
    context?.drawImage(picture, 0, 0, w, h);
    const frame = new VideoFrame(canvas, { timestamp: clock(now) });
    this.#encode(frame, w, h);
    frame.close();
  }

  /** @param {VideoFrame} frame @param {number} width @param {number} height */
  #encode(frame, width, height) {
    const { bitrate, rate } = this.steps[this.#step];
    const wanted = `${width}x${height}@${rate}/${bitrate}`;
    if (this.#encoder?.state !== 'configured') {
      this.#encoder = new VideoEncoder({
        output: (chunk) => this.socket.sendFrame(this.mid, CODECS.vp8, chunk),
        error: () => { this.#configured = ''; },
      });
      this.#configured = '';
    }
    if (wanted !== this.#configured) {
      this.#encoder.configure({ codec: 'vp8', width, height, bitrate, framerate: rate, latencyMode: 'realtime' });
      this.#configured = wanted;
      this.#key = true;
    }
    this.#encoder.encode(frame, { keyFrame: this.#key });
    this.#key = false;
    this.frames++;
  }

  /** Follows what the way to the server takes. @param {number} now */
  #adapt(now) {
    const { age } = this.socket;
    if (age > FAST) this.#tight = now;
    if (age > SLOW && this.#step < this.steps.length - 1 && now - this.#changed > DOWN_AFTER) {
      this.#step++;
      this.#changed = now;
    } else if (this.#step > 0 && now - Math.max(this.#tight, this.#changed) > UP_AFTER) {
      this.#step--;
      this.#changed = now;
    }
  }
}
