// @ts-check
// The page /recordings/ID.
import { RecordingAccess } from './client/recording.js';
import { preferredLanguage, t, useLanguage } from './lib/i18n.js';
import { effect } from './lib/signal.js';
import { playbackScreen } from './ui/playback.js';

const id = decodeURIComponent(location.pathname.replace(/\/+$/, '').split('/').at(-1) ?? '');
await useLanguage(preferredLanguage());
document.getElementById('loading')?.remove();
const access = new RecordingAccess(location.origin, id);
// A link may bring a token in its fragment, which no log ever sees.
const token = location.hash.slice(1);
if (/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
  history.replaceState(null, '', location.pathname);
  await access.signIn(token).catch(() => {}); // the page then says that it is closed
}
document.body.append(playbackScreen(access).element);
effect(() => {
  document.title = `${t('playback.title')} · Consilium`;
});
