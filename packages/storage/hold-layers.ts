/**
 * Layers within reach for as long as they are worked with, whatever driver they belong to: with most of them they always
 * are, and this costs nothing.
 */
import type { LayerUse, StorageDriver } from "#storage/driver-types.ts";

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };

/** Holds layers until disposed; all of them or, where it throws, none. */
export async function holdLayers(
  storage: StorageDriver,
  use: LayerUse,
  ...ids: readonly string[]
): Promise<AsyncDisposable> {
  if (storage.hold === undefined) return nothing;
  await using held = new AsyncDisposableStack();
  for (const id of ids) held.use(await storage.hold(id, use));
  return held.move();
}

/** What is held in somebody's name, over calls that know of each other only by it: a container's run. */
export class HeldLayers {
  readonly #storage: StorageDriver;
  readonly #held = new Map<string, AsyncDisposableStack>();

  constructor(storage: StorageDriver) {
    this.#storage = storage;
  }

  async hold(owner: string, use: LayerUse, id: string): Promise<void> {
    if (this.#storage.hold === undefined) return;
    const held = await this.#storage.hold(id, use);
    const own = this.#held.get(owner) ?? new AsyncDisposableStack();
    this.#held.set(owner, own);
    own.use(held);
  }

  /** Gives back all that `owner` holds; nothing where that is nothing. */
  async release(owner: string): Promise<void> {
    const own = this.#held.get(owner);
    this.#held.delete(owner);
    await own?.disposeAsync();
  }
}
