// @ts-check
// The tiles, laid out so that each is as large as it can be; more than
// PAGE of them scroll.
import { h } from '../lib/element.js';
import { lang } from '../lib/i18n.js';
import { Tile } from './tile.js';
import { selfVideo } from './preview.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/call.js').Call} Call */

const PAGE = 13; // tiles that fit without scrolling: oneself and twelve others
const GAP = 8; // px, as in the style sheet
const TALLEST = 0.8; // height of a tile by its width, unless it is alone
const VIEW_DELAY = 250; // ms

/** @param {Scope} scope @param {Call} call @param {import('../client/local.js').LocalMedia} local */
export function stage(scope, call, local) {
  /** @type {Map<string, Tile>} */
  const tiles = new Map();
  /** @type {Set<Element>} */
  const visible = new Set();
  const screens = h('div', { class: 'screens' });
  const grid = h('div', { class: 'grid' });
  const empty = scope.text(h('p', { class: 'stage-empty', 'data-testid': 'alone' }), 'call.alone');
  const self = selfTile(scope, local);
  const element = h('div', { class: 'stage' }, screens, grid, empty, self);
  const report = viewReporter(call, tiles, visible);
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) visible.add(target);
      else visible.delete(target);
    }
    report();
  }, { threshold: 0.05 });
  const arrange = () => {
    layout(element, grid, tiles, self);
    report();
  };
  const resized = new ResizeObserver(arrange);
  resized.observe(element);
  scope.onStop(() => {
    seen.disconnect();
    resized.disconnect();
    for (const tile of tiles.values()) tile.close();
  });

  scope.effect(() => {
    lang.value;
    const infos = call.roster.tiles();
    const failures = call.failures.list.value;
    const patient = ['patient', 'companion'].includes(call.me.value?.role ?? '');
    const notes = patient ? [] : call.failures.notes.value;
    const keys = new Set(infos.map((i) => i.key));
    for (const [key, tile] of tiles) {
      if (keys.has(key)) continue;
      seen.unobserve(tile.element);
      visible.delete(tile.element);
      tile.close();
      tiles.delete(key);
    }
    for (const info of infos) {
      let tile = tiles.get(info.key);
      if (!tile) {
        tile = new Tile(info, (track) => call.firstFrame(track));
        tiles.set(info.key, tile);
        (info.source === 'screen' ? screens : grid).append(tile.element);
        seen.observe(tile.element);
      }
      const about = failures.filter((f) => f.participant === info.participant.identity
        && (!f.track || f.track === info.video?.id));
      const note = notes.find((f) => f.participant === info.participant.identity);
      tile.update(info, (mid) => call.roster.receive(mid), about, note);
    }
    empty.hidden = infos.length > 0;
    arrange();
  });
  return element;
}

/** @param {Scope} scope @param {import('../client/local.js').LocalMedia} local */
function selfTile(scope, local) {
  const off = scope.text(h('span', { class: 'self-off' }), 'self.cam_off');
  scope.effect(() => {
    off.hidden = local.cam.value.track !== null;
  });
  return h('div', { class: 'self', 'data-testid': 'self-tile' }, selfVideo(scope, local, 'self-video'), off,
    scope.text(h('span', { class: 'self-name' }), 'self.you'));
}

/**
 * Tells the server what is on show, not more often than it matters. A page in
 * the background keeps its last view: who looks something up in another window
 * finds the picture where it was.
 * @param {Call} call @param {Map<string, Tile>} tiles @param {Set<Element>} visible
 */
function viewReporter(call, tiles, visible) {
  let timer = 0;
  let last = '';
  return () => {
    timer ||= setTimeout(() => {
      timer = 0;
      const tracks = [...tiles.values()].filter((tile) => visible.has(tile.element))
        .map((tile) => tile.size()).filter((size) => size !== null);
      const text = JSON.stringify(tracks);
      if (text === last || call.phase.peek() !== 'joined') return;
      last = text;
      call.view(tracks);
    }, VIEW_DELAY);
  };
}

/**
 * Places oneself (in a corner of a talk of two, else among the others) and
 * chooses the number of columns that makes tiles largest.
 * @param {HTMLElement} element @param {HTMLElement} grid
 * @param {Map<string, Tile>} tiles @param {HTMLElement} self
 */
function layout(element, grid, tiles, self) {
  const all = [...tiles.values()];
  const others = all.filter((tile) => tile.info.source === 'cam').length;
  const screens = all.length - others;
  const inGrid = screens > 0 || others > 1;
  if (self.parentElement !== (inGrid ? grid : element)) (inGrid ? grid : element).append(self);
  else if (inGrid && grid.lastElementChild !== self) grid.append(self);
  const cams = others + (inGrid ? 1 : 0);
  element.dataset.layout = screens ? 'screen' : 'grid';
  const { clientWidth: width, clientHeight: height } = grid;
  if (screens || !cams || !width || !height) {
    grid.style.removeProperty('--columns');
    grid.style.removeProperty('--row');
    return;
  }
  const fit = Math.min(cams, PAGE);
  let best = { columns: 1, area: 0, row: height };
  for (let columns = 1; columns <= fit; columns++) {
    const rows = Math.ceil(fit / columns);
    const w = (width - GAP * (columns - 1)) / columns;
    const tall = (height - GAP * (rows - 1)) / rows;
    const row = cams > 1 ? Math.min(tall, w * TALLEST) : tall;
    // What a picture of 4:3 would get of a tile of this shape.
    const used = Math.min(w, (row * 4) / 3);
    const area = used * used;
    if (area > best.area + 1) best = { columns, area, row };
  }
  grid.style.setProperty('--columns', String(best.columns));
  grid.style.setProperty('--row', `${Math.floor(best.row)}px`);
}
