// @ts-check
// Plays all files of a recording by one clock: a plain media element a file.
import { PlaybackClock, Reference, correction } from '../client/playback-clock.js';
import { fileTime, sessionTime } from '../client/recording-model.js';
import { h } from '../lib/element.js';
import { signal } from '../lib/signal.js';

/** @typedef {import('../client/recording-model.js').Part} Part */
/** @typedef {import('../client/recording-model.js').Recording} Recording */
/** @typedef {import('../lib/scope.js').Scope} Scope */
/**
 * A file and the element that plays it. fault says why it does not.
 * @typedef {{part: Part, media: HTMLMediaElement, kind: 'picture' | 'sound', loaded: boolean, late: number,
 *   settled: number, since: number, fault: import('../lib/signal.js').Signal<Fault>}} Item
 */
/** @typedef {'' | 'slow' | import('../client/recording.js').FileFault} Fault */

const TICK = 100; // ms
const AHEAD = 10_000; // a file is opened this long before it is needed,
const BEHIND = 30_000; // and closed this long after
const SETTLE = 400; // what an element says of its time right after a start is not believed
const PATIENCE = 20_000; // then playback goes on without it
const LATE = 3; // ticks without data that are no accident
export const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];

export class Player {
  #clock = new PlaybackClock();
  #frame = 0;
  #resume = false; // after scrubbing
  #reference = new Reference();
  #anchored = false; // the clock has been put to where the reference really began

  playing = signal(false);
  waiting = signal(false);
  /** Session time, ms: every frame while it plays. */
  position = signal(0);
  /** The same, ten times a second. */
  beat = signal(0);
  speed = signal(1);
  /** Who is muted, and who alone is heard if anybody is. */
  muted = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  solo = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  /** Volume by identity, 0 to 1. */
  volumes = signal(/** @type {Readonly<Record<string, number>>} */ ({}));
  /** What has kept any file from playing. */
  faults = signal(/** @type {ReadonlySet<Fault>} */ (new Set()));

  /**
   * @param {Scope} scope @param {Recording} recording
   * @param {{url: (file: string) => string, why: (file: string) => Promise<Fault>}} options  why one does not play
   */
  constructor(scope, recording, { url, why }) {
    this.length = recording.length;
    this.url = url;
    /** @type {Item[]} */
    this.items = recording.parts.map((p) => this.#item(scope, p, why));
    scope.every(() => this.#tick(), TICK);
    scope.effect(() => this.#mix());
    scope.onStop(() => this.#close());
  }

  /** @param {Scope} scope @param {Part} part @param {(file: string) => Promise<Fault>} why @returns {Item} */
  #item(scope, part, why) {
    const sound = part.source === 'mic';
    const media = sound ? h('audio') : h('video', { playsinline: true, tabindex: '-1', disablepictureinpicture: true });
    media.muted = !sound;
    media.dataset.file = part.file;
    /** @type {Item} */
    const item = { part, media, kind: sound ? 'sound' : 'picture', loaded: false, late: 0, settled: 0, since: 0, fault: signal('') };
    scope.listen(media, 'error', async () => {
      if (!item.loaded) return;
      item.fault.value = 'unplayable';
      const fault = await why(part.file);
      if (item.fault.peek() !== 'unplayable') return; // somebody has tried again meanwhile
      item.fault.value = fault;
      this.faults.value = new Set([...this.faults.peek(), fault]);
    });
    return item;
  }

  play() {
    if (this.#clock.position >= this.length) this.seek(0);
    this.playing.value = true;
    this.#tick();
    const draw = () => {
      this.position.value = Math.min(this.length, this.#clock.position);
      if (this.playing.peek()) this.#frame = requestAnimationFrame(draw);
    };
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(draw);
  }

  pause() {
    this.playing.value = false;
    this.#tick();
  }

  toggle() {
    if (this.playing.peek()) this.pause();
    else this.play();
  }

  /** @param {number} ms */
  seek(ms) {
    const to = Math.max(0, Math.min(this.length, ms));
    this.#clock.seek(to);
    this.position.value = to;
    this.#anchored = false;
    for (const item of this.items) {
      item.late = 0;
      if (item.fault.peek() === 'slow') item.fault.value = '';
      if (item.media.readyState < 1 || to < item.part.start || to >= item.part.end) continue;
      item.settled = performance.now() + SETTLE;
      item.media.currentTime = this.#place(item, to);
    }
    this.#tick();
  }

  /** While somebody drags, nothing plays. @param {boolean} on */
  scrub(on) {
    if (on) {
      this.#resume = this.playing.peek();
      if (this.#resume) this.pause();
    } else if (this.#resume) {
      this.#resume = false;
      this.play();
    }
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.speed.value = speed;
    this.#clock.setRate(speed);
    this.#anchored = false;
    for (const item of this.items) {
      item.media.playbackRate = speed;
      item.settled = performance.now() + SETTLE;
    }
  }

  /** Tries again what failed: the way to the server is open again. */
  retry() {
    this.faults.value = new Set();
    for (const item of this.items) {
      if (!item.fault.peek()) continue;
      item.fault.value = '';
      this.#unload(item);
    }
    this.#tick();
  }

  #tick() {
    let now = this.#clock.position;
    if (now >= this.length && this.playing.peek()) {
      this.#clock.seek(this.length);
      now = this.length;
      this.playing.value = false;
    }
    for (const item of this.items) this.#load(item, now);
    const needed = this.items.filter((i) => now >= i.part.start && now < i.part.end && !i.fault.peek());
    for (const item of this.items) if (!needed.includes(item) && !item.media.paused) item.media.pause();
    const waiting = needed.filter((i) => this.#waits(i, now));
    this.waiting.value = waiting.length > 0;
    if (!this.playing.peek() || waiting.length) {
      this.#clock.stop();
      this.#clock.setRate(this.speed.peek());
      this.#anchored = false;
      for (const item of needed) this.#hold(item, now);
    } else {
      this.#clock.start();
      const reference = needed.find((i) => i.kind === 'sound' && !i.media.muted) ?? needed[0];
      if (reference) this.#anchor(reference);
      for (const item of needed) this.#run(item, item === reference);
    }
    this.beat.value = this.#clock.position;
    if (!this.playing.peek()) this.position.value = this.#clock.position;
  }

  /** Opens a file in time and closes it when it is no longer near. @param {Item} item @param {number} now */
  #load(item, now) {
    const near = now > item.part.start - AHEAD * this.speed.peek() && now < item.part.end + BEHIND;
    if (near && !item.loaded) {
      item.loaded = true;
      item.media.preload = 'auto';
      item.media.src = this.url(item.part.file);
      item.media.playbackRate = this.speed.peek();
    } else if (!near && item.loaded) this.#unload(item);
  }

  /** @param {Item} item */
  #unload(item) {
    item.loaded = false;
    item.media.pause();
    item.media.removeAttribute('src');
    item.media.load();
  }

  /** Whether all must wait for this element. @param {Item} item @param {number} now */
  #waits(item, now) {
    const { media } = item;
    const over = media.ended || item.part.end - now < 300;
    item.late = media.readyState >= 3 || over ? 0 : item.late + 1;
    const waits = media.seeking || media.readyState < 1 || (media.paused ? item.late > 0 : item.late >= LATE);
    if (!waits) item.since = 0;
    else item.since ||= performance.now();
    if (!waits || performance.now() - item.since < PATIENCE || !this.playing.peek()) return waits;
    item.fault.value = 'slow';
    item.media.pause();
    return false;
  }

  /** Stands still at the right place. @param {Item} item @param {number} now */
  #hold(item, now) {
    const { media } = item;
    if (!media.paused) media.pause();
    if (media.readyState < 1 || media.seeking) return;
    const at = this.#place(item, now);
    if (Math.abs(media.currentTime - at) > 0.02) media.currentTime = at;
  }

  /** @param {Item} item @param {number} now */
  #place({ part, media }, now) {
    const end = Number.isFinite(media.duration) ? media.duration - 0.01 : Infinity;
    return Math.max(0, Math.min(end, fileTime(part, now)));
  }

  /**
   * All elements take a while to begin, and much the same while: the clock
   * waits for the reference, so that only the differences need correcting.
   * @param {Item} reference
   */
  #anchor({ media, part, settled }) {
    if (this.#anchored || media.paused || media.ended || performance.now() < settled) return;
    this.#clock.adjust(sessionTime(part, media.currentTime) - this.#clock.position);
    this.#anchored = true;
    this.#reference.reset();
  }

  /** Plays, and keeps step. @param {Item} item @param {boolean} reference */
  #run(item, reference) {
    const { media, part } = item;
    if (media.ended) return;
    if (media.paused) {
      item.settled = performance.now() + SETTLE;
      media.playbackRate = this.speed.peek();
      media.play().catch((/** @type {Error} */ e) => {
        // The browser wants a gesture first: the button to play is there.
        if (e.name === 'NotAllowedError') this.pause();
      });
      return;
    }
    if (!this.#anchored || performance.now() < item.settled) return;
    const error = sessionTime(part, media.currentTime) - this.#clock.position;
    if (reference) this.#lead(item, error);
    const { jump, rate } = correction(error, item.kind);
    if (jump) {
      item.settled = performance.now() + SETTLE;
      media.currentTime = this.#place(item, this.#clock.position);
    }
    const pace = item.kind === 'picture' ? this.#reference.pace : 1; // sounds share the sound card
    const wanted = reference ? this.speed.peek() : this.speed.peek() * rate * pace;
    if (Math.abs(media.playbackRate - wanted) > 0.001) media.playbackRate = wanted;
  }

  /** The clock goes with the reference. @param {Item} item @param {number} error */
  #lead({ part, media, kind }, error) {
    if (kind === 'sound') this.#reference.see(part.file, performance.now(), sessionTime(part, media.currentTime), this.speed.peek());
    this.#clock.setRate(this.speed.peek() * this.#reference.pace);
    this.#clock.adjust(this.#reference.follow(error));
  }

  /** Who is heard, and how loud. */
  #mix() {
    const [muted, solo, volumes] = [this.muted.value, this.solo.value, this.volumes.value];
    for (const { media, part, kind } of this.items) {
      if (kind !== 'sound') continue;
      media.muted = solo.size > 0 ? !solo.has(part.participant) : muted.has(part.participant);
      media.volume = volumes[part.participant] ?? 1;
    }
  }

  #close() {
    cancelAnimationFrame(this.#frame);
    for (const item of this.items) if (item.loaded) this.#unload(item);
  }
}
