// @ts-check
// The page /r/{room}.
import { diagnoseBrowser, inAppBrowser } from './client/diagnose.js';
import { watchAbsence } from './client/absence.js';
import { Call } from './client/call.js';
import { postDiagnostics } from './client/diag.js';
import { ClientLog } from './client/log.js';
import { LocalMedia } from './client/local.js';
import { isFailureCode } from './client/protocol.js';
import { lang, preferredLanguage, t, useLanguage } from './lib/i18n.js';
import { effect } from './lib/signal.js';
import { callScreen } from './ui/call-screen.js';
import { frameDenies } from './ui/frame-policy.js';
import { joinScreen } from './ui/join.js';
import { readClaims, wantedDevices } from './ui/join-token.js';
import { keep, keepTunnelled, recall, recallTunnelled } from './ui/kept.js';
import { connectingScreen, endedScreen, failedScreen, waitingScreen } from './ui/plain.js';

const DIAG_AT_ATTEMPT = 4; // failed attempts of the socket before the log takes another way

const room = decodeURIComponent(location.pathname.split('/')[2] ?? '');
/** Whether to ask for consent. */
let recording = document.documentElement.dataset.recording !== 'off';
const kept = recall(room);
// The fragment may stay in the address: the link has to survive being opened
// again, and a fragment never leaves the browser.
const token = location.hash.slice(1) || kept?.token || '';
const claims = readClaims(token);
const wanted = wantedDevices(claims);
const log = new ClientLog();
const local = new LocalMedia((stage, text, data, code) => log.add(stage, text, data, code), frameDenies);

/** @type {Call | null} */
let call = null;
/** @type {import('./client/messages.js').Consent | undefined} */
let consent = kept?.consent;
let secret = kept?.secret ?? '';
/** @type {(() => void) | null} */
let stopScreen = null;

/** What tests and people with a console may look at; see docs/reference/testids.md. */
Object.defineProperty(window, 'consilium', {
  value: { get call() { return call; }, get pc() { return call?.peer?.pc ?? null; }, local },
});

/** @param {import('./ui/plain.js').Screen} screen */
function show(screen) {
  stopScreen?.();
  document.getElementById('loading')?.remove();
  document.querySelector('main')?.remove();
  document.body.append(screen.element);
  stopScreen = screen.stop;
}

function remember() {
  if (!secret) return;
  keep(room, {
    secret, token, consent, choice: local.choice.peek(),
    muted: { mic: local.mic.peek().muted, cam: local.cam.peek().muted },
  });
}

function clientInfo() {
  const connection = /** @type {{effectiveType?: string} | undefined} */ (Reflect.get(navigator, 'connection'));
  return {
    user_agent: navigator.userAgent.slice(0, 400), lang: lang.peek(),
    screen: `${screen.width}x${screen.height}@${devicePixelRatio}`, network: connection?.effectiveType ?? '',
    version: new URL(import.meta.url).pathname.split('/')[2],
  };
}

/** @param {string} [after] code with which the server ended the last session */
function join(after = '') {
  const url = new URL('/ws', location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  url.hash = '';
  call = new Call({
    url: url.href, token, room, rejoin: secret, consent, client: clientInfo(), local, log, after,
    hidden: () => document.hidden,
    tunnelled: recallTunnelled(),
    onTunnelled: keepTunnelled,
    onSecret: (value) => {
      secret = value ?? '';
      if (secret) remember();
      else keep(room, null);
    },
  });
  follow(call);
  watchSocket(call);
  watchAbsence(call);
  call.join();
}

/** Reports by other means while the socket does not come back. @param {Call} current */
function watchSocket(current) {
  const stop = effect(() => {
    const { attempt } = current.socket.value;
    if (current !== call || current.phase.value === 'ended') return stop();
    if (attempt === DIAG_AT_ATTEMPT) postLog().then((code) => code && current.explain(code));
  });
}

/** Shows the screen that fits the state of a call. @param {Call} current */
function follow(current) {
  const stop = effect(() => {
    const phase = current.phase.value;
    if (current !== call) return stop();
    if (phase === 'refused') postLog();
    if (phase === 'connecting') show(connectingScreen(current));
    else if (phase === 'waiting') show(waitingScreen(current, local, leave));
    else if (phase === 'joined') show(callScreen({ call: current, local, wanted, onLeave: leave, onRejoin: rejoin }));
    else if (phase === 'refused' && current.refused.peek()?.code === 'consent_required') askConsent();
    else if (phase === 'refused') refused(current.refused.peek()?.code ?? 'UNKNOWN', current.me.peek()?.role);
    else if (phase === 'ended') ended(current);
  });
}

/** @param {Call} current */
function ended(current) {
  const reason = current.ended.peek() ?? { reason: 'left' };
  if (reason.retry) {
    const code = reason.code || 'SERVER_RESTART';
    show(failedScreen(code, claims.role, null));
    setTimeout(() => join(code), reason.retry * 1000);
    return;
  }
  local.close();
  show(endedScreen(reason, reason.by ? current.roster.name(reason.by) : '', again));
}

/** @param {string} code @param {string} [role] */
function refused(code, role = claims.role) {
  local.close();
  const final = ['TOKEN_BAD', 'TOKEN_EXPIRED', 'INSECURE_PAGE', 'BROWSER_OLD'].includes(code);
  show(failedScreen(isFailureCode(code) ? code : 'UNKNOWN', role, final ? null : again));
}

/** The log goes over HTTPS: the socket is what failed, or the page closes. */
function postLog() {
  return postDiagnostics(location.href, token, call?.me.peek()?.session ?? '', log.take());
}

/** Somebody may stay before a refused camera for ever: it is told at once. */
function tellFailures() {
  const failures = log.failures();
  if (failures.length) postDiagnostics(location.href, token, '', failures);
}

function leave() {
  call?.leave();
}

/** A new session in the place of this one, with what is open already. */
function rejoin() {
  call?.connection.close();
  call?.peer?.close();
  join();
}

/** From the beginning, as a person would. */
function again() {
  location.reload();
}

/** @param {string} [notice] key of words above the form */
function askFirst(notice) {
  show(joinScreen({
    notice, name: claims.name || claims.sub || t('join.guest'), local, wanted, recording, inApp: inAppBrowser(),
    openDevices: async () => {
      await local.open(wanted);
      tellFailures();
    },
    onJoin: (given) => {
      consent = given;
      join();
    },
    onRefuse: (given) => {
      consent = given;
      log.add('page', 'recording refused');
      local.close();
      join(); // the server notes the refusal and refuses the session
    },
  }));
}

/** Recording was switched on since the page was made: only now we hear of it. */
function askConsent() {
  recording = true;
  consent = undefined;
  secret = '';
  askFirst('consent.now');
}

/** A reload in mid-call: back at once, as one was. @param {import('./ui/kept.js').Kept} last */
async function comeBack(last) {
  show(connectingScreen(null));
  local.choice.value = last.choice;
  local.mic.value = { ...local.mic.peek(), muted: last.muted.mic };
  local.cam.value = { ...local.cam.peek(), muted: last.muted.cam };
  await local.open(wanted);
  join();
}

/** What browsers say of the network; not all know of its connection. @returns {[EventTarget, string][]} */
function networkEvents() {
  const { connection } = /** @type {{connection?: EventTarget}} */ (navigator);
  return connection ? [[globalThis, 'online'], [connection, 'change']] : [[globalThis, 'online']];
}

async function start() {
  await useLanguage(preferredLanguage(claims.lang));
  effect(() => {
    document.title = call?.me.value?.room ? `${t('title.call')} · Consilium` : `${t('title.join')} · Consilium`;
  });
  effect(() => {
    local.mic.value;
    local.cam.value;
    local.choice.value;
    remember();
  });
  log.add('page', 'loaded', { secure: isSecureContext, framed: self !== top, visible: document.visibilityState });
  for (const [target, type] of networkEvents()) target.addEventListener(type, () => call?.networkChanged());
  addEventListener('pagehide', postLog);
  addEventListener('visibilitychange', () => log.add('page', `page ${document.visibilityState}`));
  const problem = diagnoseBrowser();
  if (problem) {
    log.add('page', 'page not usable', {}, problem);
    postLog();
    show(failedScreen(problem, claims.role, null));
  } else if (kept?.secret) await comeBack(kept);
  else if (token) askFirst();
  else join(); // the link was cut short: the server refuses it, and the clinic hears of it
}

start();
