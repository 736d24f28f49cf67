// @ts-check
// One's own picture and how loud one's microphone is.
import { watchLevel } from '../client/devices.js';
import { h, icon } from '../lib/element.js';
import { t } from '../lib/i18n.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/local.js').LocalMedia} LocalMedia */

/**
 * A mirror: muted, inside the page, never full screen by itself.
 * @param {Scope} scope @param {LocalMedia} local @param {string} testid
 */
export function selfVideo(scope, local, testid) {
  const video = h('video', { 'data-testid': testid, class: 'mirror', playsinline: true, autoplay: true });
  video.muted = true;
  scope.effect(() => {
    const { track } = local.cam.value;
    video.srcObject = track ? new MediaStream([track]) : null;
    video.hidden = !track;
    // A camera on the back shows the world, not a mirror.
    video.classList.toggle('mirror', track?.getSettings().facingMode !== 'environment');
  });
  scope.attribute(video, 'aria-label', () => t('self.video'));
  return video;
}

/** @param {Scope} scope @param {LocalMedia} local @param {HTMLElement} buttons  shown at its foot */
export function preview(scope, local, buttons) {
  const text = scope.text(h('p'), () => {
    const { track, muted, code } = local.cam.value;
    if (track) return '';
    if (muted) return t('preview.off');
    return t(code ? 'preview.none' : 'preview.asking');
  });
  const placeholder = h('div', { class: 'preview-empty' }, icon('cam-off'), text);
  scope.effect(() => {
    placeholder.hidden = local.cam.value.track !== null;
  });
  return h('div', { class: 'preview' }, selfVideo(scope, local, 'preview'), placeholder, buttons);
}

/** @param {Scope} scope @param {LocalMedia} local */
export function levelMeter(scope, local) {
  const meter = h('div', {
    class: 'level-meter', role: 'meter', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': 0, 'data-testid': 'level-meter',
  });
  for (let i = 0; i < 16; i++) meter.append(h('span'));
  scope.attribute(meter, 'aria-label', () => t('preview.level'));
  let stop = () => {};
  scope.onStop(() => stop());
  scope.effect(() => {
    stop();
    stop = () => {};
    const { track, muted } = local.mic.value;
    if (track && !muted) stop = watchLevel(track, show);
    else show(0);
  });
  return meter;

  /** @param {number} level */
  function show(level) {
    meter.setAttribute('aria-valuenow', String(Math.round(level * 100)));
    [...meter.children].forEach((bar, i) => bar.classList.toggle('on', level * 16 > i + 0.5));
  }
}
