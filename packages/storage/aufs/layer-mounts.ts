/**
 * Which unions are mounted for whom: a layer's root is mounted for the first that holds it and taken away after the last.
 *
 * Counts holders, in turn for each layer. What an earlier daemon left mounted is taken over by whoever holds it again,
 * the rest goes with `releaseUnheld`. What cannot be taken away stops nobody but who removes the layer: it is told, and
 * tried again by the next daemon.
 */
import { basename } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import { MNT_DETACH, umount2 } from "#kernel/mount-syscalls.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import type { UnionMount, Unions } from "#storage/union/union-types.ts";

interface Held {
  users: number;
  /** What is done for this layer now; the next waits for it. */
  turn: Promise<void>;
}

export class LayerMounts {
  /** Where all mount points are; a real path, as the kernel tells it. */
  readonly #home: string;
  readonly #unions: Unions;
  readonly #logger: Logger;
  /** By mount point. */
  readonly #held = new Map<string, Held>();
  /** Mount points that stayed although nobody holds them. */
  readonly #left = new Set<string>();

  constructor(home: string, unions: Unions, logger: Logger) {
    this.#home = home;
    this.#unions = unions;
    this.#logger = logger;
  }

  /** Mounted until disposed. Throws as `Unions.mount`. */
  async hold(union: UnionMount): Promise<AsyncDisposable> {
    const { mountPoint } = union;
    const held = this.#held.get(mountPoint) ?? { users: 0, turn: Promise.resolve() };
    this.#held.set(mountPoint, held);
    held.users += 1;
    try {
      // Asked for each time: one whose server has died is made anew.
      await inTurn(held, () => this.#mount(union));
      // Who obeys now may do what it did not do before.
      await this.#takeLeft();
    } catch (error) {
      await this.#release(mountPoint, held);
      throw error;
    }
    let given = false;
    return {
      [Symbol.asyncDispose]: async () => {
        if (given) return;
        given = true;
        await this.#release(mountPoint, held);
      },
    };
  }

  async #release(mountPoint: string, held: Held): Promise<void> {
    held.users -= 1;
    await this.#leaveUnused(mountPoint, held);
  }

  /** In its layer's turn as well: who begins to hold it meanwhile mounts it again. */
  async #leaveUnheld(mountPoint: string): Promise<void> {
    if (this.#held.has(mountPoint)) return;
    const held = { users: 0, turn: Promise.resolve() };
    this.#held.set(mountPoint, held);
    await this.#leaveUnused(mountPoint, held);
  }

  async #leaveUnused(mountPoint: string, held: Held): Promise<void> {
    await inTurn(held, async () => {
      if (held.users === 0) await this.#leave(mountPoint);
    });
    if (held.users === 0 && this.#held.get(mountPoint) === held) this.#held.delete(mountPoint);
  }

  /** Who served the unions is gone; each is made anew when it is held the next time. */
  serverEnded(): void {
    if (this.#held.size === 0) return;
    const layers = [...this.#held.keys()].map((mountPoint) => basename(mountPoint)).join(" ");
    this.#logger.error("the program that serves unions has ended; what is mounted by it cannot be reached", {
      layers,
    });
  }

  /** Takes it away, whoever holds it: its layer goes. Throws where it stays. */
  async drop(mountPoint: string): Promise<void> {
    const held = this.#held.get(mountPoint);
    if (held === undefined) await this.#unmount(mountPoint);
    else await inTurn(held, () => this.#unmount(mountPoint));
  }

  /** Mount points where something is mounted that nobody holds. */
  async unheld(): Promise<string[]> {
    const mounted = readMountInfo().map(({ mountPoint }) => mountPoint);
    const served = (await this.#unions.list()).map(({ mountPoint }) => mountPoint);
    const own = new Set([...mounted, ...served].filter((path) => path.startsWith(`${this.#home}/`)));
    return [...own].filter((path) => !this.#held.has(path));
  }

  async releaseUnheld(): Promise<void> {
    let mounted: string[] = [];
    try {
      mounted = await this.unheld();
    } catch (error) {
      this.#logger.error("what earlier daemons have mounted stays", { error });
    }
    for (const mountPoint of mounted) await this.#leaveUnheld(mountPoint);
  }

  close(): void {
    this.#unions.close();
  }

  /** Once more where the program ended meanwhile: what it answers to is a BerthError. */
  async #mount(union: UnionMount): Promise<void> {
    try {
      await this.#unions.mount(union);
    } catch (error) {
      if (error instanceof BerthError) throw error;
      await this.#unions.mount(union);
    }
  }

  async #leave(mountPoint: string): Promise<void> {
    try {
      await this.#unmount(mountPoint);
    } catch (error) {
      this.#logger.error("a union stays mounted", { mountPoint, error });
    }
  }

  async #takeLeft(): Promise<void> {
    for (const mountPoint of [...this.#left]) await this.#leaveUnheld(mountPoint);
  }

  /** Never before its server has said that it is not its own: taking away one whose server is silent waits for it. */
  async #unmount(mountPoint: string): Promise<void> {
    this.#left.add(mountPoint);
    const served = await this.#unions.list();
    if (served.some((union) => union.mountPoint === mountPoint)) await this.#unions.unmount(mountPoint);
    detachAll(mountPoint);
    this.#left.delete(mountPoint);
  }
}

/** Takes away what nobody serves; nothing where nothing is mounted. */
function detachAll(mountPoint: string): void {
  for (;;) {
    try {
      umount2(mountPoint, MNT_DETACH);
    } catch (error) {
      if (isErrno(error, "EINVAL", "ENOENT")) return;
      throw error;
    }
  }
}

function inTurn(held: Held, work: () => Promise<void>): Promise<void> {
  const done = held.turn.then(work);
  held.turn = done.catch(() => {
    // Told to who asked for it.
  });
  return done;
}
