// @ts-check
// What runs on the audio thread for tunnel-send.js and tunnel-play.js: one
// processor takes the microphone, the other plays what comes.

/** @typedef {{port: MessagePort}} Processor */
const scope = /** @type {any} */ (globalThis);
/** @type {new () => Processor} */
const Base = scope.AudioWorkletProcessor;

const BLOCK = 480; // samples handed on at once: 10 ms at 48 kHz

/** Hands the first channel of its input on, in blocks. */
class MicrophoneTap extends Base {
  #block = new Float32Array(BLOCK);
  #length = 0;

  /** @param {Float32Array[][]} inputs */
  process([[samples]]) {
    if (!samples) return true;
    for (const sample of samples) {
      this.#block[this.#length++] = sample;
      if (this.#length < BLOCK) continue;
      this.port.postMessage(this.#block, [this.#block.buffer]);
      this.#block = new Float32Array(BLOCK);
      this.#length = 0;
    }
    return true;
  }
}

const RATE = 48000; // of what comes
const RING = RATE * 4; // samples
const START = 0.08; // seconds of sound to have before playing begins
const MARGIN = { least: 0.02, most: 0.2, more: 0.02, less: 0.005 }; // seconds
const WINDOW = 1; // seconds over which the least of the buffer is taken
const RELAX = 10; // seconds without an underrun after which the margin shrinks
const SPARE = 0.015; // seconds beyond the margin that may stay
const HURRY = { share: 0.4, most: 0.06 }; // of the excess a second; and how much faster at most
const TOO_MUCH = 0.2; // seconds of excess that are skipped
const MOST = 0.45; // seconds of sound that may ever wait: a device that is too slow to play skips
const TELL_EVERY = 0.1; // seconds between two reports of where we are

/**
 * An adaptive jitter buffer. Sound has its place by its time, so a frame that
 * is missing is silence and not a shift. The buffer starts with START; when it
 * runs dry it keeps a larger margin, and what is always left over is played
 * away a little faster.
 */
class JitterBuffer extends Base {
  #ring = new Float32Array(RING);
  #origin = 0; // time of sample 0, µs
  #write = -1; // the sample after the last that came; -1: none came
  #read = 0; // the next sample to play, with a fraction
  #playing = false;
  #margin = MARGIN.least;
  #least = Infinity; // of the buffer, in this window
  #window = 0; // samples played in it
  #calm = 0; // samples played since the last underrun
  #speed = 1;
  #told = 0;
  #samples = 0; // played, not counting silence for want of sound
  #underruns = 0;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.#take(data.time, data.samples);
  }

  /** @param {number} time µs @param {Float32Array} samples */
  #take(time, samples) {
    let at = Math.round((time - this.#origin) * RATE / 1e6);
    if (this.#write < 0 || at > this.#write + RING / 2 || at < this.#read - RING / 2) {
      this.#origin = time;
      at = this.#read = this.#write = 0;
      this.#playing = false;
    } else if (!this.#playing && at > this.#write + RATE / 10) {
      this.#read = this.#write = at; // nothing was sent: no reason to wait longer
    } else if (!this.#playing && this.#write <= this.#read) this.#dry();
    for (let i = this.#write; i < at; i++) this.#ring[i % RING] = 0;
    for (let i = 0; i < samples.length; i++) {
      if (at + i >= this.#read) this.#ring[(at + i) % RING] = samples[i];
    }
    this.#write = Math.max(this.#write, at + samples.length);
    if (this.#write - this.#read > MOST * RATE) this.#read = this.#write - (START + this.#margin) * RATE;
  }

  /** It ran dry and the same stream goes on: the network was late. */
  #dry() {
    this.#read = this.#write;
    this.#margin = Math.min(MARGIN.most, this.#margin + MARGIN.more);
    this.#calm = 0;
    this.#underruns++;
  }

  /** @param {Float32Array[][]} _ @param {Float32Array[][]} outputs */
  process(_, [[output]]) {
    const step = RATE / scope.sampleRate * this.#speed;
    if (!this.#playing) {
      const wanted = (START - MARGIN.least + this.#margin) * RATE;
      this.#playing = this.#write >= 0 && this.#write - this.#read >= wanted;
    }
    if (this.#playing) this.#play(output, step);
    this.#told += output.length;
    if (this.#told >= TELL_EVERY * scope.sampleRate) this.#tell();
    return true;
  }

  /** @param {Float32Array} output @param {number} step */
  #play(output, step) {
    let n = 0;
    for (; n < output.length && this.#read + 1 < this.#write; n++) {
      const whole = Math.floor(this.#read);
      const part = this.#read - whole;
      output[n] = this.#ring[whole % RING] * (1 - part) + this.#ring[(whole + 1) % RING] * part;
      this.#read += step;
    }
    this.#samples += n;
    this.#calm += n;
    if (n < output.length) {
      this.#playing = false;
      this.#read = this.#write;
    }
    this.#least = Math.min(this.#least, this.#write - this.#read);
    this.#window += output.length;
    if (this.#window >= WINDOW * scope.sampleRate) this.#adapt();
  }

  #adapt() {
    const excess = this.#least / RATE - this.#margin;
    if (excess > TOO_MUCH) this.#read += excess * RATE;
    this.#speed = excess > SPARE && excess <= TOO_MUCH ? 1 + Math.min(HURRY.most, excess * HURRY.share) : 1;
    if (this.#calm > RELAX * scope.sampleRate) {
      this.#margin = Math.max(MARGIN.least, this.#margin - MARGIN.less);
      this.#calm = 0;
    }
    this.#least = Infinity;
    this.#window = 0;
  }

  /** Tells which time is played now. */
  #tell() {
    this.#told = 0;
    this.port.postMessage({
      time: this.#playing ? this.#origin + this.#read * 1e6 / RATE : null,
      samples: this.#samples, underruns: this.#underruns, buffered: Math.max(0, this.#write - this.#read) / RATE,
    });
  }
}

scope.registerProcessor('microphone-tap', MicrophoneTap);
scope.registerProcessor('jitter-buffer', JitterBuffer);
