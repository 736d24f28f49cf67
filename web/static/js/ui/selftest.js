// @ts-check
// The self-test as a table in words.
import { CHECKS } from '../client/precheck.js';
import { h, icon } from '../lib/element.js';
import { lang, t } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { signal } from '../lib/signal.js';
import { failureWords } from './failure.js';
import { brand, button, languageSelect } from './parts.js';

/** @typedef {import('../client/precheck.js').Precheck} Precheck */
/** @typedef {import('../client/precheck.js').CheckName} CheckName */
/** @typedef {import('../lib/element.js').IconName} IconName */

/** @type {Record<string, IconName>} */
const ICONS = { ok: 'check', failed: 'warning' };

/**
 * @param {Precheck} precheck
 * @returns {import('./plain.js').Screen}
 */
export function selftestScreen(precheck) {
  const scope = new Scope();
  const running = signal(false);
  const start = async () => {
    running.value = true;
    await precheck.run();
    running.value = false;
  };
  const begin = button(scope, {
    testid: 'selftest-start', kind: 'primary large', act: start,
    words: () => t(running.value ? 'selftest.running' : `selftest.${precheck.outcome.value ? 'again' : 'start'}`),
  });
  scope.effect(() => {
    begin.disabled = running.value;
  });
  const element = h('main', { class: 'plain', 'data-testid': 'page-selftest' },
    h('header', { class: 'page-header' }, brand(), languageSelect(scope)),
    h('section', { class: 'card wide' },
      scope.text(h('h1'), 'selftest.title'),
      scope.text(h('p'), 'selftest.text'),
      precheck.token ? null : scope.text(h('p', { class: 'notice', 'data-testid': 'selftest-no-link' }), 'selftest.no_link'),
      begin, verdict(scope, precheck), table(scope, precheck)));
  return { element, stop: () => scope.stop() };
}

/** @param {Scope} scope @param {Precheck} precheck */
function verdict(scope, precheck) {
  const box = h('div', { class: 'verdict', role: 'status', 'data-testid': 'selftest-verdict' });
  scope.effect(() => {
    lang.value;
    const outcome = precheck.outcome.value;
    box.hidden = !outcome;
    if (!outcome) return;
    box.dataset.verdict = outcome.verdict;
    box.dataset.code = outcome.code;
    box.replaceChildren(icon(outcome.verdict === 'good' ? 'check' : 'warning'), h('div', {},
      h('p', { class: 'verdict-words' }, t(`selftest.verdict.${outcome.verdict}`)),
      outcome.code ? h('p', {}, failureWords(outcome.code, true)) : null,
      precheck.token ? h('p', { class: 'hint' }, t('selftest.sent')) : null));
  });
  return box;
}

/** @param {Scope} scope @param {Precheck} precheck */
function table(scope, precheck) {
  return h('table', { class: 'checks' },
    h('thead', { class: 'visually-hidden' }, h('tr', {},
      scope.text(h('th', { scope: 'col' }), 'selftest.column.check'),
      scope.text(h('th', { scope: 'col' }), 'selftest.column.result'))),
    h('tbody', {}, ...CHECKS.map((name) => row(scope, precheck, name))));
}

/** @param {Scope} scope @param {Precheck} precheck @param {CheckName} name */
function row(scope, precheck, name) {
  const result = h('td');
  const element = h('tr', { 'data-testid': `check-${name}` },
    scope.text(h('th', { scope: 'row' }), `selftest.check.${name}`), result);
  scope.effect(() => {
    lang.value;
    const { status, code = '', values = {} } = precheck.checks[name].value;
    element.dataset.status = status;
    element.dataset.code = code;
    const mark = ICONS[status];
    const figures = Object.entries(values).map(([key, value]) => t(`selftest.value.${key}`, { value: readable(key, value) })).join(', ');
    // Why a device fails the person can mend; of the ways one is enough.
    const why = ['camera', 'microphone', 'page'].includes(name) && code ? failureWords(code, true) : '';
    result.replaceChildren(h('span', { class: 'check-status' }, mark ? icon(mark) : null, t(`selftest.status.${status}`)),
      h('span', { class: 'hint' }, figures || why));
  });
  return element;
}

/** @param {string} key @param {number} value */
function readable(key, value) {
  if (key === 'bitrate') return Math.round(value / 1000);
  return key === 'loss' ? Number((value * 100).toFixed(1)) : value;
}
