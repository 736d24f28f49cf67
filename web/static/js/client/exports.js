// @ts-check
// Files that the server makes of a recording when it is asked to.
import { signal } from '../lib/signal.js';

/** @typedef {import('./recording.js').RecordingAccess} RecordingAccess */
/**
 * @typedef {object} ExportJob
 * @property {string} id
 * @property {'merged' | 'composed'} kind
 * @property {'webm' | 'mp4'} format
 * @property {string} [participant]
 * @property {'cam' | 'screen'} [source]  of the pictures of a merged file
 * @property {string} created  RFC 3339
 * @property {'queued' | 'running' | 'done' | 'failed'} state
 * @property {number} [progress]  0 to 1
 * @property {string} [reason]  why it failed
 * @property {{name: string, bytes: number, participant?: string}[]} files  of a job that is done
 */
/** @typedef {{kind: 'merged' | 'composed', format: 'webm' | 'mp4', participant?: string, source?: 'screen'}} ExportRequest */

/**
 * What is said when a request is refused: a key of the catalogues.
 * @param {{status: number, code: string}} error
 */
export function refusalWords({ status, code }) {
  if (status === 501) return 'playback.export.no_program';
  if (code === 'sealed') return 'playback.export.sealed';
  if (code === 'DISK_FULL') return 'playback.export.disk';
  if (status === 503) return 'playback.export.busy';
  if (status === 401 || status === 403) return 'playback.access.ended';
  if (status === 0) return 'playback.access.unreachable.text';
  return 'playback.export.refused';
}

/** The exports of one recording, and those that are being made. */
export class Exports {
  /** null: the server makes none. */
  jobs = signal(/** @type {ExportJob[] | null} */ (null));

  /** @param {RecordingAccess} access */
  constructor(access) {
    this.access = access;
  }

  /** Whether something is being made just now. */
  get busy() {
    return (this.jobs.peek() ?? []).some((j) => j.state === 'queued' || j.state === 'running');
  }

  async load() {
    const answer = await this.access.part('/exports').catch(() => undefined);
    if (answer !== undefined) this.jobs.value = answer?.exports ?? null;
  }

  /** @param {ExportRequest} request */
  async make(request) {
    await this.access.post('/exports', request);
    await this.load();
  }

  /** Stops it, or removes what it made. @param {string} id of the job */
  async remove(id) {
    await this.access.remove(`/exports/${encodeURIComponent(id)}`);
    await this.load();
  }
}
