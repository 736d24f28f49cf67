// @ts-check
// The page /admin.
import { preferredLanguage, t, useLanguage } from './lib/i18n.js';
import { effect } from './lib/signal.js';
import { adminScreen } from './ui/admin.js';

await useLanguage(preferredLanguage());
document.getElementById('loading')?.remove();
document.body.append(adminScreen(location.origin).element);
effect(() => {
  document.title = `${t('admin.title')} · Consilium`;
});
