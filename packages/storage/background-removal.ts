/**
 * Deletes trees nobody can name any more, without making anybody wait: in a worker, many together, once no more have come
 * for a moment.
 *
 * A deletion that fails is reported by `settled` and tried again by the next start's reconciliation.
 */
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import type { StorageTask } from "#storage/worker/worker-messages.ts";

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

interface Waiting extends PromiseWithResolvers<void> {
  path: string;
}

export class BackgroundRemoval {
  readonly #workers = new StorageWorkers(1);
  readonly #special: SpecialRemoval | undefined;
  readonly #pending = new Set<Promise<void>>();
  /** Trees that wait for a quiet moment. */
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(special?: SpecialRemoval) {
    this.#special = special;
  }

  /** Begins to delete a tree that has no other user. */
  add(path: string): void {
    const waiting = { path, ...Promise.withResolvers<void>() };
    const removal = waiting.promise;
    this.#waiting.push(waiting);
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

  /** Deletes what waits. */
  #begin(): void {
    clearTimeout(this.#timer);
    const trees = this.#waiting;
    this.#waiting = [];
    if (trees.length === 0) return;
    if (this.#special === undefined) void this.#removeAll(trees);
    else this.#removeSpecially(this.#special, trees);
  }

  async #removeAll(trees: readonly Waiting[]): Promise<void> {
    const paths = trees.map(({ path }) => path);
    try {
      const failed = new Set((await this.#workers.run({ kind: "remove-all", paths })) as string[]);
      for (const tree of trees) {
        // Alone it tells what is wrong, if it still is.
        if (failed.has(tree.path))
          this.#workers.run({ kind: "remove", path: tree.path }).then(() => tree.resolve(), tree.reject);
        else tree.resolve();
      }
    } catch (error) {
      for (const { reject } of trees) reject(error);
    }
  }

  /** One tree in each turn of the event loop. */
  #removeSpecially(special: SpecialRemoval, [next, ...rest]: readonly Waiting[]): void {
    if (next === undefined) return;
    const { path } = next;
    special
      .attempt(path)
      .then((done) => (done ? undefined : this.#workers.run(special.task(path))))
      .then(() => next.resolve(), next.reject);
    setImmediate(() => this.#removeSpecially(special, rest));
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
