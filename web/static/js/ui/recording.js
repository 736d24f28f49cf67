// @ts-check
// Whether the call is recorded: the sign that is always there, and the banner
// when something of it is not although it should be.
import { h, icon } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { announce } from './parts.js';

/** @typedef {import('../client/call.js').Call} Call */
/** @typedef {import('../lib/scope.js').Scope} Scope */

/** @param {Scope} scope @param {Call} call */
export function recordingSign(scope, call) {
  const words = scope.text(h('span'), () => t(call.recording.value.on ? 'recording.on' : 'recording.off'));
  const sign = h('div', { class: 'recording-sign', 'data-testid': 'recording-sign', role: 'status' },
    h('span', { class: 'dot', 'aria-hidden': 'true' }), words);
  scope.attribute(sign, 'data-on', () => String(call.recording.value.on));
  return sign;
}

/**
 * Nobody can close it: it goes when everything is recorded again.
 * @param {Scope} scope @param {Call} call
 */
export function recordingAlarm(scope, call) {
  const box = h('div', { class: 'recording-alarm', role: 'alert', 'data-testid': 'recording-alarm' });
  let raised = false;
  scope.effect(() => {
    lang.value;
    const alarm = call.recordingAlarm.value;
    const staff = !['patient', 'companion'].includes(call.me.value?.role ?? 'patient');
    box.hidden = !alarm;
    if (alarm) {
      box.dataset.code = alarm.code;
      box.dataset.extent = alarm.on ? 'part' : 'all';
      box.replaceChildren(icon('warning'), h('div', {}, ...words(alarm, staff)));
    } else {
      box.replaceChildren();
      if (raised) announce(t('recording.alarm.over'));
    }
    raised = alarm !== null;
  });
  return box;
}

/** @param {import('../client/messages.js').RecordingBody} alarm @param {boolean} staff */
function words(alarm, staff) {
  const all = [h('strong', {}, t(alarm.on ? 'recording.alarm.part' : 'recording.alarm.all'))];
  if (staff) all.push(h('span', {}, t(`recording.reason.${alarm.code === 'DISK_FULL' ? 'DISK_FULL' : 'RECORDER_FAILED'}`)));
  all.push(h('span', {}, t(staff ? 'recording.alarm.staff' : 'recording.alarm.patient')));
  if (alarm.incident) {
    all.push(h('span', { class: 'incident' }, t('failure.incident'), ' ', h('strong', { 'data-testid': 'recording-incident' }, alarm.incident)));
  }
  return all;
}
