/** Layers that are being made: a second request for one waits for the first, and whoever removes it for its end. */

export class LayersInMaking {
  readonly #making = new Map<string, Promise<void>>();

  /** Makes layers, unless the first of them is being made. */
  once([cacheId = "", ...others]: string[], make: () => Promise<void>): Promise<void> {
    const running = this.#making.get(cacheId);
    if (running !== undefined) return running;
    const made = make().finally(() => {
      for (const id of [cacheId, ...others]) this.#making.delete(id);
    });
    for (const id of [cacheId, ...others]) this.#making.set(id, made);
    return made;
  }

  /** Resolves when nobody is making it any more; a failure is told to whoever makes it. */
  async settled(cacheId: string): Promise<void> {
    await this.#making.get(cacheId)?.catch(() => {});
  }
}
