// @ts-check
// Camera, microphone and screen: asking for them, changing them, losing them.
import { diagnoseDevice } from './diagnose.js';

/** @typedef {{track: MediaStreamTrack | null, code: string | null}} Captured  a track, or why not */
/** @typedef {(method: string, value: unknown, call: string) => void} Note  takes down what was asked and what came of it */
/** @typedef {{mic: string, cam: string}} DeviceChoice  device ids; "" is the browser's choice */

/** @param {string} id @returns {MediaTrackConstraints} */
function micConstraints(id) {
  return {
    echoCancellation: true, noiseSuppression: true, autoGainControl: true,
    ...(id ? { deviceId: { exact: id } } : {}),
  };
}

/** @param {string} id @returns {MediaTrackConstraints} */
function camConstraints(id) {
  return {
    width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 },
    ...(id ? { deviceId: { exact: id } } : { facingMode: 'user' }),
  };
}

/** @param {'mic' | 'cam'} source @param {string} id @returns {MediaStreamConstraints} */
function constraints(source, id) {
  return source === 'mic' ? { audio: micConstraints(id) } : { video: camConstraints(id) };
}

/**
 * Asks for devices, and takes down in the words of rtcstats what came of it.
 * @param {'getUserMedia' | 'getDisplayMedia'} method
 * @param {MediaStreamConstraints} wanted
 * @param {Note} note
 */
async function ask(method, wanted, note) {
  const name = `navigator.mediaDevices.${method}`;
  const call = `${method}-${Math.round(performance.now())}`;
  // Which device it is nobody needs to know.
  note(name, JSON.parse(JSON.stringify(wanted, (key, value) => (key === 'deviceId' ? 'chosen' : value))), call);
  try {
    const stream = await navigator.mediaDevices[method](wanted);
    note(`${name}OnSuccess`, stream.getTracks().map(({ kind, readyState, muted }) => ({ kind, readyState, muted })), call);
    return stream;
  } catch (e) {
    note(`${name}OnFailure`, String(e), call);
    throw e;
  }
}

/**
 * Asks for both in one question; where that fails, for each, so that one that
 * is missing or refused does not take the other with it.
 * @param {DeviceChoice} choice
 * @param {{mic: boolean, cam: boolean}} wanted
 * @param {Note} note
 * @returns {Promise<{mic: Captured, cam: Captured}>}
 */
export async function captureBoth(choice, wanted, note) {
  /** @type {Captured} */
  const none = { track: null, code: null };
  if (wanted.mic && wanted.cam) {
    try {
      const stream = await ask('getUserMedia', { audio: micConstraints(choice.mic), video: camConstraints(choice.cam) }, note);
      return {
        mic: { track: stream.getAudioTracks()[0], code: null },
        cam: { track: stream.getVideoTracks()[0], code: null },
      };
    } catch {
      // Which of the two it was, the questions one by one will show.
    }
  }
  const mic = wanted.mic ? await capture('mic', choice.mic, note) : none;
  const cam = wanted.cam ? await capture('cam', choice.cam, note) : none;
  return { mic, cam };
}

/**
 * Asks for one device; a device that is gone gives way to any other.
 * @param {'mic' | 'cam'} source
 * @param {string} id
 * @param {Note} note
 * @returns {Promise<Captured>}
 */
export async function capture(source, id, note) {
  try {
    return { track: await one(constraints(source, id), note), code: null };
  } catch (e) {
    const gone = e instanceof Error && (e.name === 'OverconstrainedError' || (id !== '' && e.name === 'NotFoundError'));
    if (!gone) return { track: null, code: diagnoseDevice(e, source) };
  }
  try {
    return { track: await one(source === 'mic' ? { audio: true } : { video: true }, note), code: null };
  } catch (e) {
    return { track: null, code: diagnoseDevice(e, source) };
  }
}

/** @param {MediaStreamConstraints} wanted @param {Note} note */
async function one(wanted, note) {
  const stream = await ask('getUserMedia', wanted, note);
  return stream.getTracks()[0];
}

/**
 * The screen, sharp rather than smooth.
 * @param {Note} note
 * @returns {Promise<MediaStreamTrack | null>} null when the person changed their mind
 */
export async function captureScreen(note) {
  try {
    const stream = await ask('getDisplayMedia', { video: { frameRate: { max: 15 } }, audio: false }, note);
    const [track] = stream.getVideoTracks();
    track.contentHint = 'detail';
    return track;
  } catch (e) {
    if (e instanceof Error && e.name === 'NotAllowedError') return null;
    throw e;
  }
}

/** Whether this browser can share a screen (phones can't). */
export function canShareScreen() {
  return typeof navigator.mediaDevices?.getDisplayMedia === 'function';
}

/**
 * @typedef {object} DeviceList
 * @property {MediaDeviceInfo[]} mics
 * @property {MediaDeviceInfo[]} cams
 * @property {MediaDeviceInfo[]} speakers
 */

/** @returns {Promise<DeviceList>} those with a name: before permission there is none */
export async function listDevices() {
  const all = (await navigator.mediaDevices.enumerateDevices()).filter((d) => d.deviceId !== '' && d.label !== '');
  /** @param {MediaDeviceKind} kind */
  const of = (kind) => all.filter((d) => d.kind === kind);
  return { mics: of('audioinput'), cams: of('videoinput'), speakers: of('audiooutput') };
}

/**
 * Measures how loud a microphone is, ten times a second.
 * @param {MediaStreamTrack} track
 * @param {(level: number) => void} onLevel 0 to 1, on a scale of decibels
 * @returns {() => void} stops it
 */
export function watchLevel(track, onLevel) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 1024;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    if (context.state === 'suspended') context.resume().catch(() => {}); // needs a gesture first
    analyser.getFloatTimeDomainData(samples);
    let sum = 0;
    for (const s of samples) sum += s * s;
    const decibels = 10 * Math.log10(sum / samples.length + 1e-10); // full scale is 0
    onLevel(Math.min(1, Math.max(0, (decibels + 60) / 55)));
  }, 100);
  return () => {
    clearInterval(timer);
    context.close().catch(() => {});
  };
}
