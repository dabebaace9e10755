/**
 * Deletes trees nobody can name any more, without making anybody wait: small ones (most containers') in the event
 * loop's quiet moments, large ones in a worker.
 *
 * A deletion that fails is reported by `settled` and tried again by the next start's reconciliation.
 */
import { removeTree } from "#kernel/remove-tree.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import type { StorageTask } from "#storage/worker/worker-messages.ts";

/** What is deleted in the event loop at most. */
const inlineBudget = { entries: 200, time: 2 };
/** Milliseconds without a new tree before deleting begins: while containers come and go, they go first. */
const quietTime = 100;
/** So many trees are deleted at once however busy it is: disk space does not wait for ever. */
const longestBacklog = 200;

/** For trees that need not be walked to be deleted. */
export interface SpecialRemoval {
  /** Deletes what goes without blocking the event loop; false if that is not all. */
  attempt(path: string): Promise<boolean>;
  /** Deletes the rest, in a worker. */
  task(path: string): StorageTask;
}

export class BackgroundRemoval {
  readonly #workers = new StorageWorkers(1);
  readonly #special: SpecialRemoval | undefined;
  readonly #pending = new Set<Promise<void>>();
  /** Trees that wait for a quiet moment. */
  #waiting: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(special?: SpecialRemoval) {
    this.#special = special;
  }

  /** Begins to delete a tree that has no other user. */
  add(path: string): void {
    const removal = new Promise<void>((resolve) => this.#waiting.push(resolve)).then(async () => {
      const done = this.#special ? await this.#special.attempt(path) : removeTree(path, inlineBudget);
      if (!done) await this.#workers.run(this.#special?.task(path) ?? { kind: "remove", path });
    });
    this.#pending.add(removal);
    removal.then(
      () => this.#pending.delete(removal),
      // Stays in the set, so that `settled` tells.
      () => undefined,
    );
    clearTimeout(this.#timer);
    if (this.#waiting.length >= longestBacklog) this.#begin();
    else this.#timer = setTimeout(() => this.#begin(), quietTime);
  }

  /** Deletes what waits, one tree in each turn of the event loop. */
  #begin(): void {
    clearTimeout(this.#timer);
    const [next, ...rest] = this.#waiting;
    this.#waiting = rest;
    next?.();
    if (rest.length > 0) setImmediate(() => this.#begin());
  }

  /** Resolves when everything added so far is gone; rejects with the first failure, each told once. */
  async settled(): Promise<void> {
    this.#begin();
    const results = await Promise.allSettled([...this.#pending].map((removal) => this.#tell(removal)));
    const failure = results.find((result) => result.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  }

  async #tell(removal: Promise<void>): Promise<void> {
    try {
      await removal;
    } finally {
      this.#pending.delete(removal);
    }
  }

  async close(): Promise<void> {
    await this.settled().catch(() => undefined);
    await this.#workers.close();
  }
}
