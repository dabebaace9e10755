/**
 * How long a worker thread has waited for its client: what others are told who want its place. A client that sends or takes a
 * byte now and then waits as much as one that does nothing; only what is worth the name begins the count anew.
 */

/** Is the work to stop? Told, in ms, how long the client has kept it waiting; without, only asked. */
export type Aborted = (waited?: number) => boolean;

/** Bytes that make up for all waiting before. */
const WORTH = 64 * 1024;

export class ClientPace {
  readonly #aborted: Aborted;
  #waited = 0;
  #moved = 0;

  constructor(aborted: Aborted) {
    this.#aborted = aborted;
  }

  /** So many ms have gone by in waiting for the client; is the work to stop? */
  waited(milliseconds: number): boolean {
    this.#waited += milliseconds;
    return this.#aborted(this.#waited);
  }

  /** So many bytes came or went; is the work to stop? */
  moved(bytes: number): boolean {
    this.#moved += bytes;
    if (this.#moved >= WORTH) {
      this.#moved = 0;
      this.#waited = 0;
    }
    return this.#aborted(this.#waited);
  }
}
