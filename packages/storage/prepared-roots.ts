/**
 * Trees that containers begin as, made before they are asked for: for drivers whose copies cost no space, only the wait
 * until the disk has them.
 *
 * For each image layer that a container was made of there is one tree with mount points, and copies of it for the next
 * containers. They belong to this until they are taken; the driver removes what a crash leaves of them, by its names.
 */
import type { Owner } from "#storage/driver-types.ts";

/** Begins the names of what containers begin as; none outlives its daemon. */
export const preparedPrefix = ".init-";

export interface RootMaking {
  /** A tree of a layer with mount points; answers its path. */
  base(parent: string | undefined, owner: Owner): Promise<string>;
  /** A copy of such a tree; answers its path. */
  copy(base: string): Promise<string>;
  discard(path: string): Promise<void>;
}

/** What one container takes: its init layer and its own. */
export type RootPair = [init: string, own: string];

interface Prepared {
  parent: string | undefined;
  base: Promise<string>;
  /** The next containers'. */
  spares: Promise<RootPair>[];
  refill: NodeJS.Timeout | undefined;
}

/** Pairs that are kept. */
const kept = 2;
/** Milliseconds from taking one to making others: making them keeps the file system busy, and the container goes first. */
const refillTime = 100;

export class PreparedRoots {
  readonly #making: RootMaking;
  /** By layer and owner. */
  readonly #prepared = new Map<string, Prepared>();

  constructor(making: RootMaking) {
    this.#making = making;
  }

  /** Paths of two trees that are the caller's now; others will be made. */
  async take(parent: string | undefined, owner: Owner): Promise<RootPair> {
    const key = `${parent ?? ""} ${owner.uid}:${owner.gid}`;
    let prepared = this.#prepared.get(key);
    if (prepared === undefined) {
      prepared = { parent, base: this.#making.base(parent, owner), spares: [], refill: undefined };
      this.#prepared.set(key, prepared);
      prepared.base.catch(() => this.#prepared.delete(key)); // whoever waits is told
    }
    const spare = prepared.spares.shift();
    // One that could not be made says nothing of the next attempt.
    const pair = (await spare?.catch(() => undefined)) ?? (await this.#copy(prepared));
    prepared.refill ??= setTimeout(() => this.#refill(key, prepared), refillTime).unref();
    return pair;
  }

  #refill(key: string, prepared: Prepared): void {
    prepared.refill = undefined;
    if (this.#prepared.get(key) !== prepared) return;
    while (prepared.spares.length < kept) {
      const spare = this.#copy(prepared);
      spare.catch(() => {}); // told to whom it would have been for
      prepared.spares.push(spare);
    }
  }

  async #copy({ base }: Prepared): Promise<RootPair> {
    const source = await base;
    // Together: they wait for the disk once.
    const made = await Promise.allSettled([this.#making.copy(source), this.#making.copy(source)]);
    const paths = made.flatMap((copy) => (copy.status === "fulfilled" ? [copy.value] : []));
    const [init, own] = paths;
    if (init !== undefined && own !== undefined) return [init, own];
    for (const path of paths) await this.#making.discard(path);
    throw made.find((copy) => copy.status === "rejected")?.reason;
  }

  /** Removes what is prepared for containers of a layer, or all. */
  async forget(parent?: string): Promise<void> {
    for (const [key, prepared] of this.#prepared) {
      if (parent !== undefined && prepared.parent !== parent) continue;
      this.#prepared.delete(key);
      clearTimeout(prepared.refill);
      const left = await Promise.all([
        ...prepared.spares.map((spare) => spare.catch(() => [])),
        prepared.base.then((path) => [path]).catch(() => []),
      ]);
      for (const path of left.flat()) await this.#making.discard(path);
    }
  }
}
