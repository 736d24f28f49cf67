// @ts-check
// Decodes and plays what comes through the tunnel: each m-line becomes a track,
// as an RTCPeerConnection would have it.
import { PaintedTrack } from '../lib/pictures.js';
import { CODECS } from './tunnel-frame.js';

const ASK_EVERY = 500; // ms between two requests for a keyframe
const MAX_WAIT = 1000; // ms a picture waits for its sound at most
const MAX_HELD = 40; // pictures that wait

/** What WebCodecs calls the codecs. @type {Record<number, string>} */
const NAMES = { [CODECS.vp8]: 'vp8', [CODECS.vp9]: 'vp09.00.10.08', [CODECS.h264]: 'avc1.42E01F' };

/** @typedef {import('./tunnel-frame.js').Frame} Frame */

/** Plays the sound of one m-line. */
export class AudioLine {
  samples = 0; // played so far
  underruns = 0;
  buffered = 0; // seconds
  /** @type {AudioDecoder | null} */ #decoder = null;
  /** Which time was played, and when we heard of it. */
  #played = { time: 0, at: 0 };

  /** @param {AudioContext} context with tunnel-worklet.js */
  constructor(context) {
    this.node = new AudioWorkletNode(context, 'jitter-buffer', { numberOfInputs: 0, outputChannelCount: [1] });
    const out = context.createMediaStreamDestination();
    this.node.connect(out);
    this.track = out.stream.getAudioTracks()[0];
    this.node.port.onmessage = ({ data }) => {
      this.samples = data.samples;
      this.underruns = data.underruns;
      this.buffered = data.buffered;
      this.#played = { time: data.time ?? 0, at: performance.now() };
    };
  }

  /** The time that is heard now, µs; null: nothing is. */
  get now() {
    const { time, at } = this.#played;
    return time ? time + (performance.now() - at) * 1000 : null;
  }

  /** @param {Frame} frame */
  take({ codec, time, payload }) {
    if (codec !== CODECS.opus) return;
    if (this.#decoder?.state !== 'configured') {
      this.#decoder = new AudioDecoder({ output: (data) => this.#decoded(data), error: () => {} }); // made anew by the next frame
      this.#decoder.configure({ codec: 'opus', sampleRate: 48000, numberOfChannels: 1 });
    }
    this.#decoder.decode(new EncodedAudioChunk({ type: 'key', timestamp: time, data: payload }));
  }

  /** @param {AudioData} data */
  #decoded(data) {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: 'f32-planar' });
    this.node.port.postMessage({ time: data.timestamp, samples }, [samples.buffer]);
    data.close();
  }

  close() {
    if (this.#decoder && this.#decoder.state !== 'closed') this.#decoder.close();
    this.node.disconnect();
    this.track.stop();
  }
}

/** Shows the pictures of one m-line, each when its sound is heard. */
export class VideoLine {
  frames = 0; // shown so far
  /** @type {VideoDecoder | null} */ #decoder = null;
  #codec = 0;
  /** @type {VideoFrame[]} */ #held = [];
  #timer = 0;
  #asked = 0;
  #painted = new PaintedTrack();

  /**
   * @param {AudioLine | null} audio  of the same seat
   * @param {() => void} askKeyframe
   */
  constructor(audio, askKeyframe) {
    this.audio = audio;
    this.askKeyframe = askKeyframe;
    this.track = this.#painted.track;
  }

  /** @param {Frame} frame */
  take({ codec, key, time, payload }) {
    if (!NAMES[codec]) return;
    if (this.#decoder?.state !== 'configured' || codec !== this.#codec) {
      if (!key) {
        this.#ask();
        return;
      }
      this.#start(codec);
    }
    this.#decoder?.decode(new EncodedVideoChunk({ type: key ? 'key' : 'delta', timestamp: time, data: payload }));
  }

  /** @param {number} codec */
  #start(codec) {
    if (this.#decoder && this.#decoder.state !== 'closed') this.#decoder.close();
    this.#codec = codec;
    this.#decoder = new VideoDecoder({
      output: (frame) => this.#decoded(frame),
      error: () => this.#ask(), // closed: the next keyframe starts another
    });
    this.#decoder.configure({ codec: NAMES[codec], optimizeForLatency: true });
  }

  #ask() {
    const now = performance.now();
    if (now - this.#asked < ASK_EVERY) return;
    this.#asked = now;
    this.askKeyframe();
  }

  /** @param {VideoFrame} frame */
  #decoded(frame) {
    this.#held.push(frame);
    if (this.#held.length > MAX_HELD) this.#held.shift()?.close();
    this.#show();
  }

  /** Shows what is due, and sleeps until the next is. */
  #show() {
    clearTimeout(this.#timer);
    for (;;) {
      const [frame] = this.#held;
      if (!frame) return;
      const wait = this.#wait(frame.timestamp);
      if (wait > 2) {
        this.#timer = setTimeout(() => this.#show(), wait);
        return;
      }
      this.#held.shift();
      // One that is as late as the next is not worth painting.
      if (!this.#held.length || this.#wait(this.#held[0].timestamp) > 0) this.#painted.paint(frame);
      this.frames++;
      frame.close();
    }
  }

  /** How long a picture has to wait for its sound, ms. @param {number} time */
  #wait(time) {
    const heard = this.audio?.now;
    if (!heard) return 0;
    const wait = (time - heard) / 1000;
    return wait > MAX_WAIT ? 0 : wait;
  }

  close() {
    clearTimeout(this.#timer);
    for (const frame of this.#held) frame.close();
    this.#held = [];
    if (this.#decoder && this.#decoder.state !== 'closed') this.#decoder.close();
    this.track.stop();
  }
}
