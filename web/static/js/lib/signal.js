// @ts-check
// Signals: values that know who read them. effect() runs a function and runs
// it again, in a microtask, whenever a signal it has read got another value.

/**
 * @template T
 * @typedef {object} Signal
 * @property {T} value
 * @property {() => T} peek  reads without subscribing
 */

/** @typedef {{run: () => void, sources: Set<Set<Reaction>>, queued: boolean, stopped: boolean}} Reaction */

/** @type {Reaction | null} */
let current = null;

/**
 * @template T
 * @param {T} initial
 * @returns {Signal<T>}
 */
export function signal(initial) {
  let value = initial;
  /** @type {Set<Reaction>} */
  const readers = new Set();
  return {
    get value() {
      if (current) {
        readers.add(current);
        current.sources.add(readers);
      }
      return value;
    },
    set value(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const reader of readers) schedule(reader);
    },
    peek: () => value,
  };
}

/**
 * @param {() => void} fn
 * @returns {() => void} stops it
 */
export function effect(fn) {
  /** @type {Reaction} */
  const reaction = {
    sources: new Set(),
    queued: false,
    stopped: false,
    run() {
      forget(reaction);
      const outer = current;
      current = reaction;
      try {
        fn();
      } finally {
        current = outer;
      }
    },
  };
  reaction.run();
  return () => {
    reaction.stopped = true;
    forget(reaction);
  };
}

/** @param {Reaction} reaction */
function schedule(reaction) {
  if (reaction.queued) return;
  reaction.queued = true;
  queueMicrotask(() => {
    reaction.queued = false;
    if (!reaction.stopped) reaction.run();
  });
}

/** @param {Reaction} reaction */
function forget(reaction) {
  for (const readers of reaction.sources) readers.delete(reaction);
  reaction.sources.clear();
}
