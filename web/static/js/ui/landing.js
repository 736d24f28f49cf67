// @ts-check
// The landing page: it only says what this is.
import { h } from '../lib/element.js';
import { preferredLanguage, t, useLanguage } from '../lib/i18n.js';
import { Scope } from '../lib/scope.js';
import { brand, languageSelect } from './parts.js';

export async function landingPage() {
  await useLanguage(preferredLanguage());
  const scope = new Scope();
  document.getElementById('loading')?.remove();
  document.body.append(h('main', { class: 'plain', 'data-testid': 'page-landing' },
    h('header', { class: 'page-header' }, brand(), languageSelect(scope)),
    h('section', { class: 'card' },
      scope.text(h('h1'), 'landing.title'),
      scope.text(h('p'), 'landing.text'),
      scope.text(h('a', { href: '/selftest', class: 'link', 'data-testid': 'to-selftest' }), 'landing.selftest'))));
  scope.effect(() => {
    document.title = `${t('landing.title')} · Consilium`;
  });
}
