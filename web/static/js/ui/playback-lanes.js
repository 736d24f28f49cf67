// @ts-check
// The time axis: for each participant a strip of how loud he was, when he was
// in the call, when microphone and camera were off, what is missing. It is for
// the eye and the pointer; the slider above and the list beside say the same to
// keyboards and screen readers.
import { amplitude } from '../client/recording-model.js';
import { h, icon } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';
import { clock } from './admin-format.js';
import { momentWords } from './playback-events.js';
import { seekBar } from './playback-transport.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/recording-model.js').Lane} Lane */
/** @typedef {import('../client/recording-model.js').Span} Span */
/** @typedef {import('../client/recording-model.js').Recording} Recording */
/** @typedef {import('./playback-player.js').Player} Player */

const SVG = 'http://www.w3.org/2000/svg';
const COLUMNS = 1500; // of a strip: what a wide screen can show
const ZOOMS = [1, 2, 4, 8, 16, 32];
const NEAR = 8; // px: a mark is that wide each way
const MARKS = 300; // on the axis; the list has them all
const TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600].map((s) => s * 1000);

/** @param {Scope} scope @param {Player} player @param {Recording} recording */
export function timeAxis(scope, player, recording) {
  const zoom = signal(1);
  const line = h('div', { class: 'playhead', 'aria-hidden': 'true' });
  const axis = h('div', { class: 'axis-ticks', 'aria-hidden': 'true' });
  const rows = h('div', { class: 'axis-rows' }, ...recording.lanes.map((lane) => row(scope, lane, recording)), overlay(scope, player, recording, line));
  const inner = h('div', { class: 'axis-inner' }, h('div', { class: 'axis-top' }, seekBar(scope, player), axis), rows);
  const box = h('div', { class: 'axis', 'data-testid': 'axis' }, inner);
  scope.effect(() => {
    inner.style.setProperty('--zoom', String(zoom.value));
    axis.replaceChildren(...ticks(recording.length, zoom.value));
    reveal(box, inner, player.position.peek() / player.length, true);
  });
  scope.effect(() => {
    const at = player.position.value / player.length;
    line.style.setProperty('--at', String(at));
    if (player.playing.peek()) reveal(box, inner, at, false);
  });
  return h('section', { class: 'play-axis' },
    h('div', { class: 'axis-head' }, scope.text(h('h2'), 'playback.axis'), zoomButtons(scope, zoom), legend(scope, recording)), box);
}

/** @param {Scope} scope @param {import('../lib/signal.js').Signal<number>} zoom */
function zoomButtons(scope, zoom) {
  const make = (/** @type {number} */ step, /** @type {'zoom-in' | 'zoom-out'} */ name) => {
    const out = h('button', { type: 'button', class: 'tool', 'data-testid': name, onclick: () => {
      zoom.value = ZOOMS[Math.max(0, Math.min(ZOOMS.length - 1, ZOOMS.indexOf(zoom.peek()) + step))];
    } }, icon(name));
    scope.attribute(out, 'aria-label', () => t(step > 0 ? 'playback.zoom_in' : 'playback.zoom_out'));
    scope.effect(() => {
      out.disabled = zoom.value === (step > 0 ? ZOOMS.at(-1) : 1);
    });
    return out;
  };
  return h('span', { class: 'axis-zoom' }, make(-1, 'zoom-out'), make(1, 'zoom-in'));
}

/** Keeps the moment in sight when the axis is wider than the page. @param {HTMLElement} box @param {HTMLElement} inner @param {number} at @param {boolean} centre */
function reveal(box, inner, at, centre) {
  if (inner.scrollWidth <= box.clientWidth) return;
  const top = /** @type {HTMLElement} */ (inner.querySelector('.axis-ticks'));
  const x = top.offsetLeft + top.offsetWidth * at;
  if (centre) box.scrollLeft = x - box.clientWidth / 2;
  else if (x < box.scrollLeft + top.offsetLeft || x > box.scrollLeft + box.clientWidth - 24) box.scrollLeft = x - top.offsetLeft - 24;
}

/** @param {number} length @param {number} zoom */
function ticks(length, zoom) {
  const step = TICKS.find((s) => length / s <= 8 * zoom) ?? 3_600_000;
  const out = [];
  for (let ms = 0; ms < length; ms += step) {
    const tick = h('span', {}, clock(ms));
    tick.style.setProperty('--at', String(ms / length));
    if (ms / length < 1 - 0.13 / zoom) out.push(tick); // the label has to fit, on a phone, too
  }
  return out;
}

/** What the pointer touches: click and drag seek. @param {Scope} scope @param {Player} player @param {Recording} recording @param {HTMLElement} line */
function overlay(scope, player, recording, line) {
  const hint = h('span', { class: 'axis-hint' });
  hint.hidden = true;
  const pad = h('div', { class: 'axis-pad', 'data-testid': 'axis-pad', 'aria-hidden': 'true' }, line, hint);
  const at = (/** @type {PointerEvent} */ e) => {
    const box = pad.getBoundingClientRect();
    return Math.max(0, Math.min(1, (e.clientX - box.left) / box.width));
  };
  let dragging = false;
  scope.listen(pad, 'pointerdown', (e) => {
    if (e.button !== 0) return;
    dragging = true;
    pad.setPointerCapture(e.pointerId);
    player.scrub(true);
    player.seek(at(e) * player.length);
  });
  scope.listen(pad, 'pointermove', (e) => {
    hint.hidden = false;
    hint.style.setProperty('--at', String(at(e)));
    hint.textContent = [clock(at(e) * player.length), failureAt(pad, recording, e)].filter(Boolean).join(' ');
    hint.classList.toggle('at-end', at(e) > 0.5);
    if (dragging) player.seek(at(e) * player.length);
  });
  scope.listen(pad, 'pointerleave', () => {
    hint.hidden = true;
  });
  for (const end of ['pointerup', 'pointercancel']) {
    scope.listen(pad, end, () => {
      if (dragging) player.scrub(false);
      dragging = false;
    });
  }
  return pad;
}

/**
 * What failed where the pointer is, in words: nothing below the pad is touched.
 * @param {HTMLElement} pad @param {Recording} recording @param {PointerEvent} e
 */
function failureAt(pad, recording, e) {
  const box = pad.getBoundingClientRect();
  const per = recording.length / box.width; // ms of a pixel
  const ms = (e.clientX - box.left) * per;
  const strip = [...(pad.parentElement?.querySelectorAll('.lane-row') ?? [])].find((r) => {
    const { top, bottom } = r.getBoundingClientRect();
    return e.clientY >= top && e.clientY < bottom;
  });
  const lane = recording.lanes.find((l) => l.identity === /** @type {HTMLElement | undefined} */ (strip)?.dataset.participant);
  if (!lane) return '';
  const near = recording.moments.find((m) => m.kind === 'failure' && m.participant === lane.identity && ms > m.ms - NEAR * per && ms < m.ms + m.span + NEAR * per);
  if (near) return momentWords(near, lane.name);
  for (const source of /** @type {const} */ (['mic', 'cam', 'screen'])) {
    const lost = lane.lost[source].find((s) => ms >= s.start && ms < s.end);
    if (lost) return t(`playback.lost.${lost.state === 'locked' || lost.state === 'live' ? lost.state : 'failed'}`, { source: t(`playback.source.${source}`) });
  }
  return '';
}

/** @param {Scope} scope @param {Lane} lane @param {Recording} recording */
function row(scope, lane, recording) {
  const strip = h('div', { class: 'lane-strip', role: 'img' }, drawing(lane, recording.length), ...marks(lane, recording));
  scope.attribute(strip, 'aria-label', () => {
    const speech = lane.speech.reduce((sum, s) => sum + s.end - s.start, 0);
    return t('playback.lane', { name: lane.name, from: clock(lane.present[0]?.start ?? 0), to: clock(lane.present.at(-1)?.end ?? 0), speech: clock(speech) });
  });
  return h('div', { class: 'lane-row', 'data-testid': 'play-lane', 'data-participant': lane.identity },
    h('div', { class: 'lane-name' }, h('span', {}, lane.name)), strip);
}

/** @param {Lane} lane @param {number} length */
function drawing(lane, length) {
  const svg = make('svg', { viewBox: '0 0 1000 100', preserveAspectRatio: 'none', class: 'strip', 'aria-hidden': 'true' });
  const bar = (/** @type {string} */ kind, /** @type {Span} */ s, /** @type {number} */ y, /** @type {number} */ height) => {
    svg.append(make('rect', { class: kind, x: s.start / length * 1000, y, width: Math.max(0.5, (s.end - s.start) / length * 1000), height }));
  };
  for (const s of lane.present) bar('present', s, 0, 100);
  for (const p of lane.parts.mic) svg.append(make('path', { class: 'loud', d: outline(p, length) }));
  for (const s of lane.muted.mic) bar('mic-off', s, 6, 62);
  for (const p of lane.parts.cam) bar('cam', p, 78, 8);
  for (const s of lane.muted.cam) bar('cam-off', s, 76, 12);
  for (const p of lane.parts.screen) bar('screen', p, 89, 8);
  for (const p of Object.values(lane.parts).flat()) {
    for (const g of p.gaps) if (g.reason !== 'muted' && g.reason !== 'silent') bar('gap', g, p.source === 'mic' ? 6 : 76, p.source === 'mic' ? 62 : 24);
  }
  for (const source of /** @type {const} */ (['mic', 'cam', 'screen'])) {
    for (const s of lane.lost[source]) bar(s.state === 'live' ? 'unfinished' : 'gap', s, source === 'mic' ? 6 : 76, source === 'mic' ? 62 : 24);
  }
  return svg;
}

/** The strip of one file: the loudest in each column. @param {import('../client/recording-model.js').Part} p @param {number} length */
function outline(p, length) {
  const x = (/** @type {number} */ ms) => (ms / length * 1000).toFixed(2);
  const middle = 37;
  if (!p.levels) return `M${x(p.start)} ${middle - 1}H${x(p.end)}V${middle + 1}H${x(p.start)}Z`;
  const { step, values } = p.levels;
  const each = Math.max(1, Math.ceil(length / COLUMNS / step)); // steps of a column
  let up = `M${x(p.start)} ${middle}`;
  let down = '';
  for (let i = 0; i < values.length; i += each) {
    const half = 1 + 30 * amplitude(Math.min(...values.subarray(i, i + each)));
    const [from, to] = [x(p.start + i * step), x(Math.min(p.end, p.start + (i + each) * step))];
    up += `L${from} ${(middle - half).toFixed(1)}H${to}`;
    down = `H${to}V${(middle + half).toFixed(1)}H${from}${down}`;
  }
  return `${up}V${middle}${down}V${middle}Z`;
}

/** Failures stand out. @param {Lane} lane @param {Recording} recording */
function marks(lane, recording) {
  return recording.moments.filter((m) => m.participant === lane.identity && m.kind === 'failure').slice(0, MARKS).map((m) => {
    const mark = h('span', { class: 'lane-mark' });
    mark.style.setProperty('--at', String(m.ms / recording.length));
    return mark;
  });
}

/** @param {Scope} scope @param {Recording} recording */
function legend(scope, recording) {
  const all = recording.lanes.flatMap((l) => l.parts.mic);
  const kinds = ['loud', 'mic-off', 'cam', 'cam-off'];
  if (recording.lanes.some((l) => !(l.present.length === 1 && l.present[0].start <= 0 && l.present[0].end >= recording.length))) kinds.unshift('absent');
  if (recording.lanes.some((l) => l.parts.screen.length)) kinds.push('screen');
  kinds.push('failure');
  const list = h('ul', { class: 'axis-legend' });
  scope.effect(() => {
    lang.value;
    list.replaceChildren(...kinds.map((kind) => h('li', { 'data-kind': kind }, t(`playback.legend.${kind}`))));
    if (all.some((p) => p.levels?.guessed)) list.append(h('li', { class: 'hint' }, t('playback.legend.guessed')));
  });
  return list;
}

/** @param {string} tag @param {Record<string, string | number>} attributes */
function make(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}
