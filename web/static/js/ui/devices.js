// @ts-check
// Choice of microphone, camera and speaker, for the join page and the call.
import { listDevices } from '../client/devices.js';
import { h } from '../lib/element.js';
import { t } from '../lib/i18n.js';
import { signal } from '../lib/signal.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/local.js').LocalMedia} LocalMedia */

/** Whether sound can be sent to a chosen speaker. */
const canChooseSpeaker = 'setSinkId' in HTMLMediaElement.prototype;

/**
 * @param {Scope} scope @param {LocalMedia} local @param {{mic: boolean, cam: boolean}} wanted
 */
export function deviceSelects(scope, local, wanted) {
  /** @type {import('../lib/signal.js').Signal<import('../client/devices.js').DeviceList>} */
  const devices = signal({ mics: [], cams: [], speakers: [] });
  const refresh = async () => {
    devices.value = await listDevices();
  };
  if (navigator.mediaDevices) {
    scope.listen(navigator.mediaDevices, 'devicechange', refresh);
    // Names are given after permission: look again when a track comes.
    scope.effect(() => {
      local.mic.value.track;
      local.cam.value.track;
      refresh().catch(() => {});
    });
  }
  const box = h('div', { class: 'devices' });
  if (wanted.cam) box.append(select('cam', () => devices.value.cams));
  if (wanted.mic) box.append(select('mic', () => devices.value.mics));
  if (canChooseSpeaker) box.append(select('speaker', () => devices.value.speakers));
  return box;

  /** @param {'mic' | 'cam' | 'speaker'} kind @param {() => MediaDeviceInfo[]} list */
  function select(kind, list) {
    const id = `${kind}-select`;
    const element = h('select', { id, 'data-testid': id });
    scope.effect(() => {
      const options = list().map((d) => h('option', { value: d.deviceId }, d.label));
      if (!options.length) options.push(h('option', { value: '' }, t('devices.default')));
      element.replaceChildren(...options);
      element.disabled = options.length < 2;
      const chosen = local.choice.value[kind] || activeId(kind);
      if (options.some((o) => o.value === chosen)) element.value = chosen;
    });
    scope.listen(element, 'change', () => local.choose(kind, element.value));
    return h('div', { class: 'field' }, scope.text(h('label', { for: id }), `devices.${kind}`), element);
  }

  /** @param {'mic' | 'cam' | 'speaker'} kind */
  function activeId(kind) {
    return kind === 'speaker' ? 'default' : local[kind].value.track?.getSettings().deviceId ?? '';
  }
}
