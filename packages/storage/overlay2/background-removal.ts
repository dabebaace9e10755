/**
 * Deletes trees nobody can name any more, without making anybody wait: small ones (most containers') in the event
 * loop's spare moments, large ones in a worker.
 *
 * A deletion that fails is reported by `settled` and tried again by the next start's reconciliation.
 */
import { removeTree } from "#kernel/remove-tree.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** Entries deleted in the event loop at most: one or two milliseconds. */
const inlineBudget = 200;

export class BackgroundRemoval {
  readonly #workers = new StorageWorkers(1);
  readonly #pending = new Set<Promise<void>>();

  /** Begins to delete a tree that has no other user. */
  add(path: string): void {
    const removal = new Promise((resolve) => setImmediate(resolve)).then(async () => {
      if (!removeTree(path, inlineBudget)) await this.#workers.run({ kind: "remove", path });
    });
    this.#pending.add(removal);
    removal.then(
      () => this.#pending.delete(removal),
      // Stays in the set, so that `settled` tells.
      () => undefined,
    );
  }

  /** Resolves when everything added so far is gone; rejects with the first failure, each told once. */
  async settled(): Promise<void> {
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
