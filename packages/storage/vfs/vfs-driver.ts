/**
 * The vfs storage driver: every layer is a directory with all of its files, `vfs/dir/<id>` as Docker has it. Works on any
 * file system, needs no mount, and costs a copy for every container.
 *
 * Image layers and init layers are never written to after they are made, only replaced name by name while they are
 * unpacked; so their files are further names of those below, and only a container's own layer is a real copy. Copies
 * are made in a worker under the name `.new-<id>` and renamed when whole; see layer-names.ts.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { FileDescriptor } from "#kernel/fd.ts";
import { fchmod, fchown, renameat2 } from "#kernel/file-syscalls.ts";
import { RootDirectory } from "#kernel/root-directory.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { AT_FDCWD, O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";
import type { RootfsPlan } from "#runtime/launch-types.ts";
import { BackgroundRemoval } from "#storage/background-removal.ts";
import { cannotStart, checkSize, parseDriverOption } from "#storage/driver-options.ts";
import type { LayerComparison, Owner, StorageDriver, WritableOptions } from "#storage/driver-types.ts";
import { type InitStep, makeInitStep, planInitLayer } from "#storage/init-layer.ts";
import { pathExists, readIfExists, removeIfExists } from "#storage/layer-files.ts";
import {
  checkLayerId,
  gonePrefix,
  initSuffix,
  newPrefix,
  noSuchLayer,
  ownerOf,
} from "#storage/layer-names.ts";
import { makeLayerDirectory, spreadLayers } from "#storage/spread-layers.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** Trees copied at once: more would only make the disk's head, or its queue, busier. */
const copies = 2;

export interface VfsOptions {
  /** The daemon's data root; layers live in `<dataRoot>/vfs/dir`. */
  dataRoot: string;
  /** "key=value" of `--storage-opt`. */
  options?: readonly string[];
  /** Who owns the root directory of a lowest layer. */
  owner?: Owner;
}

/** Makes the driver's directory. Throws "invalid" with Docker's text for an option that it cannot keep. */
export function createVfsDriver({ dataRoot, options = [], owner }: VfsOptions): VfsDriver {
  for (const option of options) checkOption(option);
  const home = join(dataRoot, "vfs", "dir");
  const parents = join(dataRoot, "vfs", "parents");
  mkdirSync(home, { recursive: true, mode: 0o710 });
  mkdirSync(parents, { recursive: true, mode: 0o700 });
  mkdirSync(join(dataRoot, "vfs", "layouts"), { recursive: true, mode: 0o700 });
  return new VfsDriver(home, parents, spreadLayers(home), owner ?? { uid: 0, gid: 0 });
}

function checkOption(text: string): void {
  const { key, value } = parseDriverOption("vfs", text);
  if (key !== "size") throw cannotStart("vfs", `unknown option ${key} for vfs`);
  checkSize("vfs", value);
  throw cannotStart("vfs", "Filesystem does not support, or has not enabled quotas");
}

export class VfsDriver implements StorageDriver {
  readonly name = "vfs";
  readonly whiteouts = "apply";
  readonly #home: string;
  readonly #parents: string;
  readonly #spread: boolean;
  readonly #owner: Owner;
  readonly #removal = new BackgroundRemoval();
  readonly #workers = new StorageWorkers(copies);
  /** Layers being made, so that a second request waits for the first. */
  readonly #making = new Map<string, Promise<void>>();

  /** `home` holds the layers, `parents` a small file for each that was put on another. */
  constructor(home: string, parents: string, spread: boolean, owner: Owner) {
    this.#home = home;
    this.#parents = parents;
    this.#spread = spread;
    this.#owner = owner;
  }

  async status(): Promise<null> {
    return null;
  }

  async create(cacheId: string, parent: string | undefined): Promise<void> {
    await this.#create(cacheId, parent, true);
  }

  async createWritable(cacheId: string, parent: string | undefined, options: WritableOptions): Promise<void> {
    checkLayerId(cacheId);
    const init = `${cacheId}${initSuffix}`;
    await this.#create(init, parent, true, (directory) => {
      this.#makeMountPoints(directory, options.uid ?? 0, options.gid ?? 0);
    });
    await this.#create(cacheId, init, false);
  }

  async remove(cacheId: string): Promise<void> {
    checkLayerId(cacheId);
    for (const id of [cacheId, `${cacheId}${initSuffix}`]) {
      await this.#making.get(id)?.catch(() => {}); // whoever makes it is told
      this.#remove(id);
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
    return join(dirname(this.#home), "layouts", cacheId);
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
    for (const name of readdirSync(this.#home)) {
      if (name.startsWith(gonePrefix)) this.#removal.add(join(this.#home, name));
      else if (name.startsWith(".")) this.#discard(name);
      else if (!known.has(name) && !known.has(ownerOf(name))) this.#remove(name);
    }
    for (const name of readdirSync(this.#parents)) {
      if (!pathExists(this.#path(name))) removeIfExists(this.#parentFile(name));
    }
    for (const name of readdirSync(this.layoutPath(""))) {
      if (!pathExists(this.#path(name))) this.#discard(this.layoutPath(name), AT_FDCWD);
    }
  }

  settled(): Promise<void> {
    return this.#removal.settled();
  }

  async close(): Promise<void> {
    await Promise.all([this.#removal.close(), this.#workers.close()]);
  }

  #create(
    cacheId: string,
    parent: string | undefined,
    share: boolean,
    fill?: (directory: string) => void,
  ): Promise<void> {
    const running = this.#making.get(cacheId);
    if (running !== undefined) return running;
    const making = this.#make(cacheId, parent, share, fill).finally(() => this.#making.delete(cacheId));
    this.#making.set(cacheId, making);
    return making;
  }

  async #make(
    cacheId: string,
    parent: string | undefined,
    share: boolean,
    fill: ((directory: string) => void) | undefined,
  ): Promise<void> {
    checkLayerId(cacheId);
    if (pathExists(this.#path(cacheId))) return;
    const source = parent === undefined ? undefined : this.#present(parent);
    const building = join(this.#home, newPrefix + cacheId);
    // What a crash left under this name.
    if (pathExists(building)) this.#discard(newPrefix + cacheId);
    await makeLayerDirectory(this.#home, newPrefix + cacheId, 0o755, this.#spread);
    try {
      if (source === undefined) this.#ownRoot(building);
      else await this.#workers.run({ kind: "copy", task: { source, target: building, share } });
      fill?.(building);
      if (parent !== undefined) writeFileSync(this.#parentFile(cacheId), parent, { mode: 0o600 });
      renameat2(AT_FDCWD, building, AT_FDCWD, this.#path(cacheId));
    } catch (error) {
      this.#discard(newPrefix + cacheId);
      throw error;
    }
  }

  #ownRoot(path: string): void {
    using directory = new FileDescriptor(open(path, O_RDONLY | O_DIRECTORY));
    const { uid, gid } = this.#owner;
    if (uid !== 0 || gid !== 0) fchown(directory.number, uid, gid);
    fchmod(directory.number, 0o755);
  }

  #remove(cacheId: string): void {
    try {
      this.#discard(cacheId);
    } catch (error) {
      if (!isErrno(error, "ENOENT")) throw error;
    }
    removeIfExists(this.#parentFile(cacheId));
    const layout = this.layoutPath(cacheId);
    if (pathExists(layout)) this.#discard(layout, AT_FDCWD);
  }

  /** Moves something, here or in an open directory, out of the way and deletes it. */
  #discard(name: string, directory?: number): void {
    const gone = join(this.#home, gonePrefix + randomUUID());
    const path = directory === undefined ? join(this.#home, name) : name;
    renameat2(directory ?? AT_FDCWD, path, AT_FDCWD, gone);
    this.#removal.add(gone);
  }

  /** The directory of a layer that must be there. */
  #present(cacheId: string): string {
    checkLayerId(cacheId);
    const path = this.#path(cacheId);
    if (!pathExists(path)) throw noSuchLayer(cacheId);
    return path;
  }

  #path(cacheId: string): string {
    return join(this.#home, cacheId);
  }

  /** Says on which layer one was put: what its changes are told by. */
  #parentFile(cacheId: string): string {
    return join(this.#parents, cacheId);
  }

  /** Makes a container's mount points in a tree that holds the whole image; what is in their place goes. */
  #makeMountPoints(directory: string, uid: number, gid: number): void {
    using root = new RootDirectory(directory);
    for (const step of planInitLayer([directory])) this.#makeMountPoint(root, step, uid, gid);
  }

  #makeMountPoint(root: RootDirectory, step: InitStep, uid: number, gid: number): void {
    const existing = root.lstat(step.path);
    if (step.kind === "directory" && !step.opaque && existing !== undefined) return;
    // Every directory on the way has a step of its own before: none of them is a link by now.
    const { directory, name } = root.openParent(step.path);
    using parent = directory;
    if (existing !== undefined) this.#discard(name, parent.number);
    makeInitStep(parent.number, { ...step, path: name }, uid, gid);
  }
}
