/**
 * A storage driver whose layers are whole trees: each is one directory that begins as all of the layer below and is then
 * changed in place. How such a tree is made and deleted is its kind's business (`LayerTrees`): a copy, a snapshot.
 *
 * Beside the trees there is a small file for each that stands on another, naming that. A tree is made under the name
 * `.new-<id>` and renamed when whole, and renamed before it is deleted; see layer-names.ts.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "#kernel/syscall-error.ts";
import type { RootfsPlan } from "#runtime/launch-types.ts";
import type { BackgroundRemoval } from "#storage/background-removal.ts";
import type {
  LayerComparison,
  Owner,
  SizeOptions,
  StorageDriver,
  WritableOptions,
} from "#storage/driver-types.ts";
import { pathExists, readIfExists, removeIfExists } from "#storage/layer-files.ts";
import { dressLayer } from "#storage/layer-looks.ts";
import {
  checkLayerId,
  gonePrefix,
  initSuffix,
  newPrefix,
  noSuchLayer,
  ownerOf,
} from "#storage/layer-names.ts";
import { LayersInMaking } from "#storage/layers-in-making.ts";
import { PreparedRoots, preparedPrefix } from "#storage/prepared-roots.ts";
import { makeMountPoints } from "#storage/whole-mount-points.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** Trees walked at once: more would only make the disk's head, or its queue, busier. */
const walks = 2;

/** How the trees of a driver come and go. None of it blocks the event loop. */
export interface LayerTrees {
  /** An empty tree in the directory `home`, where nothing has its name. */
  makeEmpty(home: string, name: string): Promise<void>;
  /**
   * The same as the tree `source`. `share`: it is never written to, only its names are replaced; what is left half made
   * when this throws is removed by the caller.
   */
  makeCopy(source: string, home: string, name: string, options: { share: boolean }): Promise<void>;
  /** Copies cost no space, only the wait for the disk: those for the next container are made before it is asked for. */
  readonly instant: boolean;
  /** Bytes that a layer's new tree, which is at `path` yet, may hold at most. */
  limit?(cacheId: string, path: string, bytes: number): Promise<void>;
  /** The layer is about to be deleted. */
  forget?(cacheId: string): void;
  readonly removal: BackgroundRemoval;
  /** What `docker info` says of it. */
  status(): Promise<[string, string][] | null>;
  /** See `StorageDriver.sizeLimit`. */
  sizeLimit(options: SizeOptions): number | undefined;
  close(): Promise<void>;
}

export interface WholeLayersOptions {
  name: string;
  /** Holds the directory of trees, and those of what is kept beside them. Made if missing. */
  base: string;
  /** Name of the directory of trees in `base`: "dir". */
  home: string;
  trees: LayerTrees;
  /** Who owns the root directory of a lowest layer. */
  owner: Owner;
}

interface Making {
  parent: string | undefined;
  share: boolean;
  size?: number | undefined;
  fill?: (directory: string) => Promise<void>;
}

export class WholeLayerDriver implements StorageDriver {
  readonly name: string;
  readonly whiteouts = "apply";
  readonly #home: string;
  readonly #parents: string;
  readonly #layouts: string;
  readonly #trees: LayerTrees;
  readonly #owner: Owner;
  readonly #workers = new StorageWorkers(walks);
  readonly #making = new LayersInMaking();
  readonly #prepared = new PreparedRoots({
    base: (parent, owner) => this.#makePrepared(parent, owner),
    copy: async (base) => {
      const name = `${preparedPrefix}${randomUUID()}`;
      await this.#trees.makeCopy(base, this.#home, name, { share: false });
      return this.#path(name);
    },
    discard: (path) => this.#discardIfExists(path),
  });

  constructor({ name, base, home, trees, owner }: WholeLayersOptions) {
    this.name = name;
    this.#home = join(base, home);
    this.#parents = join(base, "parents");
    this.#layouts = join(base, "layouts");
    this.#trees = trees;
    this.#owner = owner;
    mkdirSync(this.#home, { recursive: true, mode: 0o710 });
    mkdirSync(this.#parents, { recursive: true, mode: 0o700 });
    mkdirSync(this.#layouts, { recursive: true, mode: 0o700 });
  }

  status(): Promise<[string, string][] | null> {
    return this.#trees.status();
  }

  sizeLimit(options: SizeOptions): number | undefined {
    return this.#trees.sizeLimit(options);
  }

  async create(cacheId: string, parent: string | undefined): Promise<void> {
    await this.#create(cacheId, { parent, share: true });
  }

  async createWritable(cacheId: string, parent: string | undefined, options: WritableOptions): Promise<void> {
    checkLayerId(cacheId);
    const init = `${cacheId}${initSuffix}`;
    const own = { parent: init, share: false, size: options.size };
    if (this.#trees.instant && !pathExists(this.#path(init))) {
      await this.#making.once([cacheId, init], () => this.#takePrepared(cacheId, parent, options));
      return;
    }
    const fill = (directory: string) => makeMountPoints(directory, options, this.#workers);
    await this.#create(init, { parent, share: true, fill });
    await this.#create(cacheId, own);
  }

  async remove(cacheId: string): Promise<void> {
    checkLayerId(cacheId);
    for (const id of [cacheId, `${cacheId}${initSuffix}`]) {
      await this.#making.settled(id);
      await this.#remove(id);
    }
  }

  async exists(cacheId: string): Promise<boolean> {
    return pathExists(this.#path(cacheId));
  }

  async size(cacheId: string): Promise<number> {
    if (!(await this.exists(cacheId))) return 0;
    const comparison = await this.comparison(cacheId);
    return (await this.#workers.run({ kind: "measure-changes", comparison })) as number;
  }

  diffPath(cacheId: string): string {
    return this.#path(cacheId);
  }

  layoutPath(cacheId: string): string {
    return join(this.#layouts, cacheId);
  }

  async rootfs(cacheId: string): Promise<RootfsPlan> {
    return { kind: "directory", path: this.#present(cacheId) };
  }

  async layerDirectories(cacheId: string): Promise<string[]> {
    return [this.#present(cacheId)];
  }

  async comparison(cacheId: string): Promise<LayerComparison> {
    const directory = this.#present(cacheId);
    const parent = readIfExists(this.#parentFile(cacheId))?.trim();
    const lower = parent === undefined ? [] : [this.#present(parent)];
    return { directory, lower, whiteouts: this.whiteouts };
  }

  async metadata(): Promise<null> {
    return null;
  }

  async reconcile(known: ReadonlySet<string>): Promise<void> {
    await this.#prepared.forget();
    for (const name of readdirSync(this.#home)) {
      if (name.startsWith(gonePrefix)) this.#trees.removal.add(this.#path(name));
      else if (name.startsWith(".")) await this.#discard(this.#path(name));
      else if (!known.has(name) && !known.has(ownerOf(name))) await this.#remove(name);
    }
    for (const name of readdirSync(this.#parents)) {
      if (!pathExists(this.#path(name))) removeIfExists(this.#parentFile(name));
    }
    for (const name of readdirSync(this.#layouts)) {
      if (!pathExists(this.#path(name))) await this.#discard(this.layoutPath(name));
    }
  }

  settled(): Promise<void> {
    return this.#trees.removal.settled();
  }

  async close(): Promise<void> {
    await this.#prepared.forget();
    await Promise.all([this.#trees.removal.close(), this.#workers.close(), this.#trees.close()]);
  }

  #create(cacheId: string, making: Making): Promise<void> {
    return this.#making.once([cacheId], () => this.#make(cacheId, making));
  }

  async #make(cacheId: string, making: Making): Promise<void> {
    const { parent, share, size, fill } = making;
    checkLayerId(cacheId);
    if (pathExists(this.#path(cacheId))) return;
    const source = parent === undefined ? undefined : this.#present(parent);
    const name = newPrefix + cacheId;
    const building = this.#path(name);
    // What a crash left under this name.
    if (pathExists(building)) await this.#discard(building);
    try {
      await this.#begin(source, name, share);
      await fill?.(building);
      if (size !== undefined) await this.#trees.limit?.(cacheId, building, size);
      if (parent !== undefined) writeFileSync(this.#parentFile(cacheId), parent, { mode: 0o600 });
      await rename(building, this.#path(cacheId));
    } catch (error) {
      await this.#discardIfExists(building);
      throw error;
    }
  }

  /** Makes a tree that is `source`, or empty. */
  async #begin(source: string | undefined, name: string, share: boolean): Promise<void> {
    if (source !== undefined) await this.#trees.makeCopy(source, this.#home, name, { share });
    else {
      await this.#trees.makeEmpty(this.#home, name);
      dressLayer(this.#path(name), undefined, this.#owner);
    }
  }

  /** Makes both layers of a container of trees that are there already. */
  async #takePrepared(
    cacheId: string,
    parent: string | undefined,
    { uid = 0, gid = 0, size }: WritableOptions,
  ): Promise<void> {
    const init = `${cacheId}${initSuffix}`;
    const [initTree, ownTree] = await this.#prepared.take(parent, { uid, gid });
    try {
      if (size !== undefined) await this.#trees.limit?.(cacheId, ownTree, size);
      if (parent !== undefined) writeFileSync(this.#parentFile(init), parent, { mode: 0o600 });
      writeFileSync(this.#parentFile(cacheId), init, { mode: 0o600 });
      // The init layer first: what is there of a container after a crash has something to be compared with.
      await rename(initTree, this.#path(init));
      await rename(ownTree, this.#path(cacheId));
    } catch (error) {
      for (const path of [ownTree, initTree]) await this.#discardIfExists(path);
      throw error;
    }
  }

  async #makePrepared(parent: string | undefined, owner: Owner): Promise<string> {
    const name = `${preparedPrefix}${randomUUID()}`;
    const source = parent === undefined ? undefined : this.#present(parent);
    try {
      await this.#begin(source, name, true);
      await makeMountPoints(this.#path(name), owner, this.#workers);
      return this.#path(name);
    } catch (error) {
      await this.#discardIfExists(this.#path(name));
      throw error;
    }
  }

  async #remove(cacheId: string): Promise<void> {
    await this.#prepared.forget(cacheId);
    await this.#discardIfExists(this.#path(cacheId));
    this.#trees.forget?.(cacheId);
    removeIfExists(this.#parentFile(cacheId));
    await this.#discardIfExists(this.layoutPath(cacheId));
  }

  async #discardIfExists(path: string): Promise<void> {
    try {
      await this.#discard(path);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
  }

  /** Moves something out of the way and deletes it. */
  async #discard(path: string): Promise<void> {
    const gone = this.#path(gonePrefix + randomUUID());
    await rename(path, gone);
    this.#trees.removal.add(gone);
  }

  /** The directory of a layer that must be there. */
  #present(cacheId: string): string {
    checkLayerId(cacheId);
    const path = this.#path(cacheId);
    if (!pathExists(path)) throw noSuchLayer(cacheId);
    return path;
  }

  #path(name: string): string {
    return join(this.#home, name);
  }

  /** Says on which layer one was put: what its changes are told by. */
  #parentFile(cacheId: string): string {
    return join(this.#parents, cacheId);
  }
}
