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
 * to a tenth, other sounds by half of that with their pitch kept; and who is
 * far off jumps.
 */
const LIMITS = {
  picture: { ignore: 15, jump: 400, bend: 0.1, gain: 1 / 1000 },
  sound: { ignore: 30, jump: 250, bend: 0.05, gain: 0.5 / 1000 },
};

/**
 * @param {number} error @param {'picture' | 'sound'} kind
 * @returns {{jump: boolean, rate: number}} rate is a factor of the speed of playback
 */
export function correction(error, kind) {
  const { ignore, jump, bend, gain } = LIMITS[kind];
  if (Math.abs(error) > jump) return { jump: true, rate: 1 };
  if (Math.abs(error) <= ignore) return { jump: false, rate: 1 };
  const by = Math.max(-bend, Math.min(bend, error * gain));
  return { jump: false, rate: Math.round((1 - by) * 100) / 100 };
}

const FOLLOW = 0.15; // of the reference's error, each time
const WINDOW = 1200; // ms over which its pace is measured
const PACE = { least: 0.5, most: 1.2 }; // what is believed

/**
 * What the reference does. A sound card is the clock of what is heard, and one
 * that stutters on a busy machine is slower than the machine's own: the clock,
 * and with it the pictures, then goes at that pace.
 */
export class Reference {
  /** @type {{wall: number, position: number}[]} */ #seen = [];
  #name = '';

  /** Of the speed that was asked for. */
  pace = 1;

  /** Forgets: what was seen holds no longer. */
  reset() {
    this.#seen = [];
    this.#name = '';
    this.pace = 1;
  }

  /**
   * @param {string} name of the file
   * @param {number} wall  the machine's clock, ms
   * @param {number} position  session time, ms
   * @param {number} speed
   */
  see(name, wall, position, speed) {
    if (name !== this.#name) this.reset();
    this.#name = name;
    this.#seen.push({ wall, position });
    while (wall - this.#seen[0].wall > WINDOW) this.#seen.shift();
    const [first] = this.#seen;
    if (wall - first.wall < WINDOW / 3) return;
    const pace = (position - first.position) / ((wall - first.wall) * speed);
    this.pace = Math.max(PACE.least, Math.min(PACE.most, pace));
  }

  /** By how much the clock follows, ms. @param {number} error */
  follow(error) {
    return Math.abs(error) > LIMITS.sound.jump ? 0 : error * FOLLOW;
  }
}
