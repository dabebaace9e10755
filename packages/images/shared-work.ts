/**
 * Work that several clients want at once is done once.
 *
 * Each joiner hears the progress (first the latest there was) and gets the result or the failure. A joiner that gives up leaves
 * alone; the work is cancelled only when nobody waits for it any more. Knows nothing of what the work is.
 */

interface Job<Progress, Result> {
  result: Promise<Result>;
  controller: AbortController;
  listeners: Set<(progress: Progress) => void>;
  latest: { progress: Progress } | undefined;
}

export type Work<Progress, Result> = (
  report: (progress: Progress) => void,
  signal: AbortSignal,
) => Promise<Result>;

export interface JoinOptions<Progress> {
  report: (progress: Progress) => void;
  signal?: AbortSignal | undefined;
}

export class SharedWork<Progress, Result> {
  readonly #jobs = new Map<string, Job<Progress, Result>>();

  /** Joins the work under `key`, or begins it. Throws the signal's reason when this joiner gives up. */
  async join(
    key: string,
    work: Work<Progress, Result>,
    { report, signal }: JoinOptions<Progress>,
  ): Promise<Result> {
    signal?.throwIfAborted();
    let job = this.#jobs.get(key);
    while (job?.controller.signal.aborted === true) {
      // Cancelled but not yet tidied up; beginning anew beside it would share its files.
      await job.result.catch(() => {}); // its failure is its cancellation
      signal?.throwIfAborted();
      job = this.#jobs.get(key);
    }
    job ??= this.#begin(key, work);
    return this.#wait(job, report, signal);
  }

  /** Resolves when the work under `key` has ended, whichever way, or there is none. Throws the signal's reason if that fires first. */
  async settled(key: string, signal?: AbortSignal): Promise<void> {
    const ended = this.#jobs.get(key)?.result.catch(() => {}); // told to its joiners
    await unlessAborted(Promise.resolve(ended), signal);
  }

  #begin(key: string, work: Work<Progress, Result>): Job<Progress, Result> {
    const controller = new AbortController();
    const job: Job<Progress, Result> = {
      controller,
      listeners: new Set(),
      latest: undefined,
      result: Promise.resolve().then(() =>
        work((progress) => {
          job.latest = { progress };
          for (const listener of job.listeners) listener(progress);
        }, controller.signal),
      ),
    };
    this.#jobs.set(key, job);
    // Registered first, so the job is gone before any joiner hears of its end and may begin it again.
    const forget = () => this.#jobs.delete(key);
    job.result.then(forget, forget);
    return job;
  }

  async #wait(
    job: Job<Progress, Result>,
    report: (progress: Progress) => void,
    signal: AbortSignal | undefined,
  ): Promise<Result> {
    // A fresh function per joiner: two joiners may bring the same listener.
    const listener = (progress: Progress) => report(progress);
    job.listeners.add(listener);
    if (job.latest !== undefined) listener(job.latest.progress);
    try {
      return await unlessAborted(job.result, signal);
    } finally {
      job.listeners.delete(listener);
      if (job.listeners.size === 0) job.controller.abort(signal?.reason);
    }
  }
}

/** Settles as `promise` does; throws the signal's reason if that fires first. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  signal?.throwIfAborted();
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}
