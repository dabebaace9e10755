/**
 * Init layers of containers that are gone, for the next containers of the same image: all are alike, nobody writes to them,
 * and making one takes two dozen files, deleting it as many.
 *
 * In memory: the next daemon's reconciliation removes what is left of this one's, by its name.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { renameat2, symlinkat } from "#kernel/file-syscalls.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import type { Owner } from "#storage/driver-types.ts";
import { pathExists, removeIfExists } from "#storage/layer-files.ts";
import { linkDirectory, linkTarget } from "#storage/overlay2/layer-links.ts";

/** Begins their names. */
const sparePrefix = ".spare-";
/** So many are kept of each kind: as many containers of an image as come and go at once. */
const maxSpares = 16;

interface Spare {
  /** Of its directory. */
  name: string;
  /** Its short name, which its file says. */
  link: string;
}

/** Init layers of one kind are alike. */
interface Kind {
  /** The layer they lie on; undefined for none. */
  parent: string | undefined;
  spares: Spare[];
}

export class SpareInits {
  readonly #home: string;
  readonly #kinds = new Map<string, Kind>();
  /** Of what kind those are that have a container. */
  readonly #used = new Map<string, Kind>();

  /** `home`: where layers lie. */
  constructor(home: string) {
    this.#home = home;
  }

  /** What an init layer was, or is going to be, made for. */
  use(init: string, parent: string | undefined, { uid, gid }: Owner): void {
    const key = `${parent ?? ""} ${uid}:${gid}`;
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      kind = { parent, spares: [] };
      this.#kinds.set(key, kind);
    }
    this.#used.set(init, kind);
  }

  /** Makes one that is left the init layer of this name; answers its short name, undefined if there is none. */
  take(init: string): string | undefined {
    const spare = this.#used.get(init)?.spares.pop();
    if (spare === undefined) return undefined;
    const link = join(this.#home, linkDirectory, spare.link);
    try {
      symlinkat(linkTarget(init), AT_FDCWD, link);
      renameat2(AT_FDCWD, join(this.#home, spare.name), AT_FDCWD, join(this.#home, init));
      return spare.link;
    } catch {
      // Somebody has tidied up: it is made anew.
      removeIfExists(link);
      return undefined;
    }
  }

  /** Its container goes. False if it is not kept. */
  keep(init: string, link: string | undefined): boolean {
    const kind = this.#used.get(init);
    this.#used.delete(init);
    if (kind === undefined || link === undefined || kind.spares.length >= maxSpares) return false;
    // An image that was removed by force goes with its last container.
    if (kind.parent !== undefined && !pathExists(join(this.#home, kind.parent))) return false;
    const name = `${sparePrefix}${randomUUID()}`;
    try {
      renameat2(AT_FDCWD, join(this.#home, init), AT_FDCWD, join(this.#home, name));
    } catch {
      return false; // Deleting it tells what is wrong.
    }
    removeIfExists(join(this.#home, linkDirectory, link));
    kind.spares.push({ name, link });
    return true;
  }

  /** A layer goes, and with it what would lie on it: answers the names of the directories to be deleted. */
  drop(parent: string): string[] {
    const names: string[] = [];
    for (const [key, kind] of this.#kinds) {
      if (kind.parent !== parent) continue;
      this.#kinds.delete(key);
      names.push(...kind.spares.splice(0).map(({ name }) => name));
    }
    return names.filter((name) => pathExists(join(this.#home, name)));
  }
}
