// @ts-check
// The page /selftest. The join token may be in the fragment, as in a link.
import { LocalMedia } from './client/local.js';
import { Precheck } from './client/precheck.js';
import { preferredLanguage, t, useLanguage } from './lib/i18n.js';
import { effect } from './lib/signal.js';
import { frameDenies } from './ui/frame-policy.js';
import { readClaims } from './ui/join-token.js';
import { selftestScreen } from './ui/selftest.js';

const token = location.hash.slice(1);
await useLanguage(preferredLanguage(readClaims(token).lang));
const precheck = new Precheck(location.origin, token, new LocalMedia(() => {}, frameDenies));
document.getElementById('loading')?.remove();
document.body.append(selftestScreen(precheck).element);
effect(() => {
  document.title = `${t('selftest.title')} · Consilium`;
});
