// @ts-check
// Who waits, who is here, and what those who are granted it may do about it.
import { h, icon } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { button } from './parts.js';

/** @typedef {import('../lib/scope.js').Scope} Scope */
/** @typedef {import('../client/call.js').Call} Call */
/** @typedef {import('../client/messages.js').Participant} Participant */

/** @param {Scope} scope @param {Call} call @param {import('../lib/signal.js').Signal<boolean>} open */
export function peoplePanel(scope, call, open) {
  const list = h('ul', { class: 'people', 'data-testid': 'people-list' });
  scope.effect(() => {
    lang.value;
    list.replaceChildren(...call.roster.others.value.filter((p) => p.state !== 'waiting').map((p) => person(call, p)));
  });
  const end = button(scope, { testid: 'end-call', kind: 'danger', words: 'people.end', act: () => confirmEnd(call) });
  const nobody = scope.text(h('p', { class: 'hint' }), 'people.nobody');
  scope.effect(() => {
    end.hidden = !call.may('end');
    nobody.hidden = call.roster.others.value.some((p) => p.state !== 'waiting');
  });
  return panel(scope, 'people', open, list, nobody, end);
}

/**
 * Those who wait, always in sight of who may admit them.
 * @param {Scope} scope @param {Call} call
 */
export function waitingList(scope, call) {
  const list = h('ul', { class: 'people' });
  const title = scope.text(h('h2'), () => t('waiting_list.title', { count: call.roster.waiting().length }));
  const box = h('section', { class: 'waiting-list', 'data-testid': 'waiting-list', hidden: true }, title, list);
  scope.effect(() => {
    lang.value;
    const waiting = call.may('admit') ? call.roster.waiting() : [];
    box.hidden = waiting.length === 0;
    list.replaceChildren(...waiting.map((p) => h('li', { 'data-participant': p.identity },
      h('span', { class: 'person-name' }, p.name || p.identity),
      act('admit', 'primary small', t('waiting_list.admit'), () => call.admit(p.identity)),
      call.may('remove') ? act('reject', 'small', t('waiting_list.reject'), () => call.remove(p.identity)) : null)));
  });
  return box;
}

/** @param {Call} call @param {Participant} p */
function person(call, p) {
  const name = p.name || p.identity;
  const speaking = (p.tracks ?? []).some((track) => track.source === 'mic' && !track.muted);
  return h('li', { 'data-participant': p.identity },
    h('span', { class: 'person-name' }, name, h('small', {}, t(`role.${p.role}`))),
    call.may('mute') && speaking
      ? act('mute-other', 'small', t('people.mute'), () => call.mute(p.identity, 'mic'), t('people.mute_name', { name })) : null,
    call.may('remove')
      ? act('remove', 'small', t('people.remove'), () => confirmRemove(call, p.identity, name), t('people.remove_name', { name })) : null);
}

/** @param {string} testid @param {string} kind @param {string} words @param {() => any} fn @param {string} [label] */
function act(testid, kind, words, fn, label) {
  const element = h('button', {
    type: 'button', class: `button ${kind}`, 'data-testid': testid, 'aria-label': label,
    onclick: async () => {
      element.disabled = true; // one press, one request
      try {
        await fn();
      } catch {
        // Refused: what is shown follows the server's own picture.
      }
      element.disabled = false;
    },
  }, words);
  return element;
}

/** @param {Call} call @param {string} identity @param {string} name */
async function confirmRemove(call, identity, name) {
  if (await ask(t('people.remove_sure', { name }), t('people.remove'))) await call.remove(identity);
}

/** @param {Call} call */
async function confirmEnd(call) {
  if (await ask(t('people.end_sure'), t('people.end'))) await call.endForAll().catch(() => {});
}

/**
 * Asks before what can't be undone.
 * @param {string} question @param {string} yes
 * @returns {Promise<boolean>}
 */
export function ask(question, yes) {
  return new Promise((resolve) => {
    const dialog = h('dialog', { class: 'dialog', 'data-testid': 'confirm' },
      h('p', {}, question),
      h('div', { class: 'dialog-actions' },
        h('button', { type: 'button', class: 'button', 'data-testid': 'confirm-no', onclick: () => dialog.close('no') }, t('confirm.no')),
        h('button', { type: 'button', class: 'button danger', 'data-testid': 'confirm-yes', onclick: () => dialog.close('yes') }, yes)));
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * A side panel (a sheet on a phone) with a way to close it.
 * @param {Scope} scope @param {'people' | 'settings'} name
 * @param {import('../lib/signal.js').Signal<boolean>} open @param {...HTMLElement} content
 */
export function panel(scope, name, open, ...content) {
  const close = h('button', {
    type: 'button', class: 'round', 'data-testid': `close-${name}`,
    onclick: () => {
      open.value = false;
    },
  }, icon('close'));
  scope.attribute(close, 'aria-label', () => t('panel.close'));
  const element = h('aside', { class: 'panel', id: `panel-${name}`, 'data-testid': `panel-${name}`, hidden: true },
    h('header', {}, scope.text(h('h2'), `controls.${name}`), close), ...content);
  scope.attribute(element, 'aria-label', () => t(`controls.${name}`));
  scope.effect(() => {
    const returning = !open.value && element.contains(document.activeElement);
    element.hidden = !open.value;
    if (open.value) close.focus();
    else if (returning) /** @type {HTMLElement | null} */ (document.querySelector(`[aria-controls="panel-${name}"]`))?.focus();
  });
  return element;
}
