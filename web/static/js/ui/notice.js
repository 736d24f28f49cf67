// @ts-check
// Pages that only say something: what this is, or that it comes later.
import { h } from '../lib/element.js';
import { preferredLanguage, t, useLanguage } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { brand, languageSelect } from './parts.js';

/** @param {'landing' | 'admin'} name */
export async function noticePage(name) {
  await useLanguage(preferredLanguage());
  const scope = new Scope();
  document.getElementById('loading')?.remove();
  document.body.append(h('main', { class: 'plain', 'data-testid': `page-${name}` },
    h('header', { class: 'page-header' }, brand(), languageSelect(scope)),
    h('section', { class: 'card' },
      scope.text(h('h1'), `${name}.title`),
      scope.text(h('p'), `${name}.text`),
      name === 'landing' ? scope.text(h('a', { href: '/selftest', class: 'link', 'data-testid': 'to-selftest' }), 'landing.selftest') : null)));
  scope.effect(() => {
    document.title = `${t(`${name}.title`)} · Consilium`;
  });
}
