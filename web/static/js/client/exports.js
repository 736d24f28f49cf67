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
 * @property {'queued' | 'running' | 'done' | 'failed'} state
 * @property {number} [progress]  0 to 1
 * @property {string} [reason]  why it failed
 * @property {{name: string, bytes: number}[]} files  of a job that is done
 */

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

  /** @param {'merged' | 'composed'} kind @param {'webm' | 'mp4'} format @param {string} [participant] */
  async make(kind, format, participant) {
    await this.access.post('/exports', participant ? { kind, format, participant } : { kind, format });
    await this.load();
  }
}
