// @ts-check

/**
 * Makes an element. Attributes that are false, null or undefined are left out,
 * true means present and empty; names that start with "on" are listeners.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string | null | undefined)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else setAttribute(element, name, value);
  }
  for (const child of children) if (child != null) element.append(child);
  return element;
}

/**
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function setAttribute(element, name, value) {
  if (value === false || value == null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value === true ? '' : String(value));
  }
}

const SVG = 'http://www.w3.org/2000/svg';

// Paths of the icons, in a box of 24 x 24, drawn with round strokes.
const ICONS = {
  mic: 'M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5 11a7 7 0 0 0 14 0M12 18v3',
  'mic-off': 'M9 9v2a3 3 0 0 0 5 2.2M15 10V6a3 3 0 0 0-5.9-.8M5 11a7 7 0 0 0 11.3 5.5M19 11a7 7 0 0 1-.7 3M12 18v3M4 4l16 16',
  cam: 'M3 7h11a1 1 0 0 1 1 1v8a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1ZM15 11l6-3.5v9L15 13',
  'cam-off': 'M10 7h4a1 1 0 0 1 1 1v4M15 15v1a1 1 0 0 1-1 1H3a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1h3M15 11l6-3.5v9L17 14.2M4 4l16 16',
  screen: 'M3 5h18v11H3zM9 20h6M12 16v4M12 13V8.5M9.8 10.5 12 8.3l2.2 2.2',
  leave: 'M3.5 14.5c-1-3.5 3.5-6.5 8.5-6.5s9.5 3 8.5 6.5c-.3 1-1.2 1.2-2 1l-2.3-.6c-.7-.2-1.2-.8-1.2-1.5v-1.2a11 11 0 0 0-6 0v1.2c0 .7-.5 1.3-1.2 1.5l-2.3.6c-.8.2-1.7 0-2-1Z',
  people: 'M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20a6.5 6.5 0 0 1 13 0M16 4.5a3.5 3.5 0 0 1 0 6.2M18 14.5a6.5 6.5 0 0 1 3.5 5.5',
  settings: 'M4 7h9M19 7h1M4 17h1M11 17h9M16 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM8 19.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z',
  sound: 'M4 9.5v5h3.5L12 18V6L7.5 9.5ZM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11',
  'sound-off': 'M4 9.5v5h3.5L12 18V6L7.5 9.5ZM16 9.5l5 5M21 9.5l-5 5',
  solo: 'M4 14v-2a8 8 0 0 1 16 0v2M4 14h3v6H5a1 1 0 0 1-1-1ZM20 14h-3v6h2a1 1 0 0 0 1-1Z',
  play: 'M7.5 5v14l11.5-7Z',
  pause: 'M8.5 5.5v13M15.5 5.5v13',
  back: 'M4 12a8 8 0 1 0 2.6-5.9M4.5 3.5v4.2h4.2',
  ahead: 'M20 12a8 8 0 1 1-2.6-5.9M19.5 3.5v4.2h-4.2',
  fullscreen: 'M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5',
  download: 'M12 4v11M7.5 10.8 12 15.3l4.5-4.5M4.5 19.5h15',
  link: 'M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3a4 4 0 0 0 5.7 5.7l1-1',
  'zoom-in': 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.3 15.3 20 20M10.5 7.8v5.4M7.8 10.5h5.4',
  'zoom-out': 'M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM15.3 15.3 20 20M7.8 10.5h5.4',
  shield: 'M12 3 5 5.5v6c0 4.3 3 7.8 7 9.5 4-1.7 7-5.2 7-9.5v-6ZM8.8 12l2.3 2.3 4.2-4.3',
  close: 'M6 6l12 12M18 6 6 18',
  warning: 'M12 4 2.5 20h19ZM12 10v4.5M12 17.4v.1',
  check: 'M5 12.5 10 17.5 19.5 7',
  clock: 'M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM12 7v5.5l3.5 2',
};

/** @typedef {keyof typeof ICONS} IconName */

/**
 * A drawing for the eye only: what it stands for is in the label beside it.
 * @param {IconName} name
 */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', 'icon');
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}
