// @ts-check
// The one clock that all files of a recording are played by, and what is done
// about an element that is ahead of it or behind.

/** Runs at the speed of playback and stands still while something is waited for. */
export class PlaybackClock {
  #base = 0; // session time, ms
  #since = 0; // when it was that, on the machine's clock
  #rate = 1;
  #running = false;

  /** @param {() => number} [now] milliseconds of a clock that never jumps */
  constructor(now = () => performance.now()) {
    this.now = now;
  }

  get running() {
    return this.#running;
  }

  get rate() {
    return this.#rate;
  }

  /** Session time, ms. */
  get position() {
    return this.#running ? this.#base + (this.now() - this.#since) * this.#rate : this.#base;
  }

  start() {
    this.#since = this.#running ? this.#since : this.now();
    this.#running = true;
  }

  stop() {
    this.#set(this.position);
    this.#running = false;
  }

  /** @param {number} ms */
  seek(ms) {
    this.#set(ms);
  }

  /** Moves it a little, to where the reference is. @param {number} ms */
  adjust(ms) {
    this.#set(this.position + ms);
  }

  /** @param {number} rate */
  setRate(rate) {
    this.#set(this.position);
    this.#rate = rate;
  }

  /** @param {number} ms */
  #set(ms) {
    this.#base = ms;
    this.#since = this.now();
  }
}

/**
 * Errors are milliseconds by which an element is ahead of the clock.
 *
 * Sound is heard when it is bent, a picture is not seen to be: so the clock
 * follows one sound, the reference; pictures are sped up or slowed down by up
 * to a tenth, other sounds by one and a half per cent with their pitch kept;
 * and who is far off jumps.
 */
export const TOLERANCE = 30;
const JUMP = { picture: 400, sound: 250 };
const BEND = { picture: 0.1, sound: 0.015 };
const GAIN = 0.5 / 1000; // of the speed, for each ms of error
const FOLLOW = 0.15; // of the reference's error, each time

/**
 * @param {number} error @param {'picture' | 'sound'} kind
 * @returns {{jump: boolean, rate: number}} rate is a factor of the speed of playback
 */
export function correction(error, kind) {
  if (Math.abs(error) > JUMP[kind]) return { jump: true, rate: 1 };
  if (Math.abs(error) <= TOLERANCE) return { jump: false, rate: 1 };
  const bend = Math.max(-BEND[kind], Math.min(BEND[kind], error * GAIN));
  return { jump: false, rate: Math.round((1 - bend) * 1000) / 1000 };
}

/** By how much the clock follows its reference, ms. @param {number} error */
export function follow(error) {
  return Math.abs(error) > JUMP.sound ? 0 : error * FOLLOW;
}
