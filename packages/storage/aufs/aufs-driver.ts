/**
 * The aufs storage driver, with Docker's layout on disk:
 *
 *   aufs/diff/<id>    what the layer adds and changes, with AUFS's marks    aufs/mnt/<id>  where its root is mounted
 *   aufs/layers/<id>  ids of the layers below, nearest first, one a line    aufs/layouts/<id>  how its archive was laid out
 *
 * (layouts are Berth's own.) A layer is built as `diff/.new-<id>` and is there once that has its name; it is renamed to
 * `.gone-…` before it is deleted. What else has its id is made before and removed after. Roots are mounted while they are
 * held (layer-mounts.ts).
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, realpathSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { type Logger, silentLogger } from "#errors/logger-types.ts";
import { mkdirat, renameat2 } from "#kernel/file-syscalls.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import type { RootfsPlan } from "#runtime/launch-types.ts";
import { type AufsSupport, probeAufs } from "#storage/aufs/aufs-support.ts";
import { LayerMounts } from "#storage/aufs/layer-mounts.ts";
import { unionProgram } from "#storage/aufs/union-program.ts";
import { BackgroundRemoval } from "#storage/background-removal.ts";
import { cannotStart, parseDriverOption, refuseSize } from "#storage/driver-options.ts";
import type {
  LayerComparison,
  LayerUse,
  Owner,
  SizeOptions,
  StorageDriver,
  WritableOptions,
} from "#storage/driver-types.ts";
import { InitPlans, type InitStep, makeInitLayer } from "#storage/init-layer.ts";
import { pathExists, readIfExists, removeIfExists } from "#storage/layer-files.ts";
import { dressLayer } from "#storage/layer-looks.ts";
import {
  checkLayerId,
  goneBelow,
  gonePrefix,
  initSuffix,
  newPrefix,
  noSuchLayer,
  ownerOf,
  tooDeep,
} from "#storage/layer-names.ts";
import { makeLayerDirectory, spreadLayers } from "#storage/spread-layers.ts";
import { adoptStage, checkStage, newStage } from "#storage/staging/stage-names.ts";
import type { Stage } from "#storage/staging/staging-types.ts";
import { UnionClient } from "#storage/union/union-client.ts";
import type { Unions } from "#storage/union/union-types.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** Layers below one another at most; as overlay2. */
const maxDepth = 128;
/** The kernel's AUFS has 127 branches, unless it was built with more, of which one is written to. */
const kernelDepth = 126;

/** Part of a driver's directory. */
type Part = "diff" | "layers" | "mnt" | "layouts";

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => {} };

export interface AufsOptions {
  /** The daemon's data root; layers live in `<dataRoot>/aufs`. */
  dataRoot: string;
  /** "key=value"; there are none. */
  options?: readonly string[];
  /** Who owns the root directory of a lowest layer. */
  owner?: Owner;
  logger?: Logger;
  /** Where the program that serves unions listens, if the kernel has no AUFS of its own. */
  unionSocket?: string;
  /** Instead of what the host has. */
  unions?: Unions;
}

/** Makes the driver's directories. Throws "invalid" for any option, "unavailable" where unions cannot be mounted. */
export function createAufsDriver({
  dataRoot,
  options = [],
  owner = { uid: 0, gid: 0 },
  logger = silentLogger,
  unionSocket = join(dataRoot, "aufs", "union.sock"),
  unions,
}: AufsOptions): AufsDriver {
  for (const text of options) {
    const { key } = parseDriverOption("aufs", text);
    throw cannotStart("aufs", `Unknown option ${key}`, "aufs has no options.");
  }
  mkdirSync(join(dataRoot, "aufs"), { recursive: true, mode: 0o710 });
  const home = realpathSync(join(dataRoot, "aufs"));
  for (const part of ["diff", "layers", "mnt", "layouts"]) {
    mkdirSync(join(home, part), { recursive: true, mode: 0o700 });
  }
  const support = probeAufs(home, logger);
  const spread = spreadLayers(join(home, "diff"));
  const served =
    unions ??
    support.kernel ??
    new UnionClient({
      socketPath: unionSocket,
      program: unionProgram(),
      onEnd: () => mounts.serverEnded(),
    });
  const mounts = new LayerMounts(join(home, "mnt"), served, logger);
  return new AufsDriver({ home, support, spread, owner, mounts, logger });
}

interface AufsParts {
  home: string;
  support: AufsSupport;
  /** What `spreadLayers` answered there. */
  spread: boolean;
  owner: Owner;
  mounts: LayerMounts;
  logger: Logger;
}

export class AufsDriver implements StorageDriver {
  readonly name = "aufs";
  readonly whiteouts = "aufs";
  readonly #home: string;
  readonly #support: AufsSupport;
  readonly #spread: boolean;
  readonly #owner: Owner;
  readonly #mounts: LayerMounts;
  readonly #logger: Logger;
  /** Ids of the layers below each; they never change. */
  readonly #lower = new Map<string, readonly string[]>();
  readonly #initPlans = new InitPlans();
  readonly #removal = new BackgroundRemoval();
  readonly #measuring = new StorageWorkers(1);

  constructor({ home, support, spread, owner, mounts, logger }: AufsParts) {
    this.#home = home;
    this.#support = support;
    this.#spread = spread;
    this.#owner = owner;
    this.#mounts = mounts;
    this.#logger = logger;
  }

  async status(): Promise<[string, string][]> {
    return [
      ["Root Dir", this.#home],
      ["Backing Filesystem", this.#support.backingFileSystem],
      ["Dirs", String(readdirSync(join(this.#home, "layers")).length)],
      ["Dirperm1 Supported", String(this.#support.dirperm1)],
    ];
  }

  sizeLimit(options: SizeOptions): undefined {
    refuseSize(this.name, options);
    return undefined;
  }

  async create(cacheId: string, parent: string | undefined): Promise<void> {
    if (!this.#mayBuild(cacheId)) return;
    await makeLayerDirectory(join(this.#home, "diff"), newPrefix + cacheId, 0o755, this.#spread);
    this.#build(cacheId, parent);
  }

  async createWritable(cacheId: string, parent: string | undefined, options: WritableOptions): Promise<void> {
    const init = `${cacheId}${initSuffix}`;
    const { uid = 0, gid = 0 } = options;
    this.#create(init, parent, (diff) => {
      makeInitLayer(diff, this.#initPlan(parent), { uid, gid }, this.whiteouts);
    });
    this.#create(cacheId, init);
  }

  async remove(cacheId: string): Promise<void> {
    checkLayerId(cacheId);
    for (const id of [cacheId, `${cacheId}${initSuffix}`]) await this.#remove(id);
  }

  async stage(): Promise<Stage> {
    const key = newStage();
    await makeLayerDirectory(join(this.#home, "diff"), key, 0o755, this.#spread);
    return { key, target: this.#path("diff", key), layout: this.#path("layouts", key) };
  }

  async adopt(cacheId: string, key: string, { describesRoot }: { describesRoot: boolean }): Promise<void> {
    const stage = { directory: this.#path("diff", checkStage(key)), layout: this.#path("layouts", key) };
    const layer = { directory: this.diffPath(cacheId), layout: this.layoutPath(cacheId) };
    const looks = describesRoot ? undefined : (this.#layerDirectories(cacheId)[1] ?? layer.directory);
    adoptStage(stage, layer, looks);
  }

  async unstage(key: string): Promise<void> {
    this.#discard("diff", checkStage(key));
    this.#discard("layouts", key);
  }

  async exists(cacheId: string): Promise<boolean> {
    return this.#isPresent(cacheId);
  }

  async size(cacheId: string): Promise<number> {
    const task = { kind: "measure", path: this.diffPath(cacheId), whiteouts: this.whiteouts } as const;
    return (await this.#measuring.run(task)) as number;
  }

  async hold(cacheId: string, use: LayerUse): Promise<AsyncDisposable> {
    if (use !== "root") return nothing;
    const writable = this.#isPresent(`${cacheId}${initSuffix}`);
    const branches = this.#layerDirectories(cacheId).map((path, index) => ({
      path,
      writable: writable && index === 0,
    }));
    const mountPoint = this.#path("mnt", cacheId);
    makeMountPoint(mountPoint);
    return await this.#mounts.hold({ mountPoint, branches });
  }

  releaseUnheld(): Promise<void> {
    return this.#mounts.releaseUnheld();
  }

  diffPath(cacheId: string): string {
    return this.#path("diff", cacheId);
  }

  layoutPath(cacheId: string): string {
    return this.#path("layouts", cacheId);
  }

  async rootfs(cacheId: string): Promise<RootfsPlan> {
    this.#lowerOf(cacheId);
    return { kind: "directory", path: this.#path("mnt", cacheId) };
  }

  async layerDirectories(cacheId: string): Promise<string[]> {
    return this.#layerDirectories(cacheId);
  }

  async comparison(cacheId: string): Promise<LayerComparison> {
    const [directory = "", ...lower] = this.#layerDirectories(cacheId);
    return { directory, lower, whiteouts: this.whiteouts };
  }

  /** Docker's has none. */
  async metadata(): Promise<null> {
    return null;
  }

  async reconcile(known: ReadonlySet<string>): Promise<void> {
    for (const name of readdirSync(join(this.#home, "diff"))) {
      if (name.startsWith(".")) this.#discard("diff", name);
      else if (!known.has(name) && !known.has(ownerOf(name))) await this.#tryRemove(name);
    }
    const ownerless = (part: Part) =>
      readdirSync(join(this.#home, part)).filter((name) => !this.#isPresent(name));
    for (const name of ownerless("layers")) removeIfExists(this.#path("layers", name));
    for (const name of ownerless("layouts")) this.#discard("layouts", name);
    for (const name of ownerless("mnt")) await this.#tryRemove(name);
  }

  /** What stays, where the program that serves unions is silent, keeps nobody from starting: the next start tries again. */
  async #tryRemove(cacheId: string): Promise<void> {
    try {
      await this.#remove(cacheId);
    } catch (error) {
      this.#logger.error("a layer that nobody knows stays", { layer: cacheId, error });
    }
  }

  settled(): Promise<void> {
    return this.#removal.settled();
  }

  async close(): Promise<void> {
    this.#mounts.close();
    await Promise.all([this.#removal.close(), this.#measuring.close()]);
  }

  /** A container's layers are too small for the place to matter. */
  #create(cacheId: string, parent: string | undefined, fill?: (diff: number) => void): void {
    if (!this.#mayBuild(cacheId)) return;
    mkdirat(AT_FDCWD, this.#path("diff", newPrefix + cacheId), 0o755);
    this.#build(cacheId, parent, fill);
  }

  /** False if it is there already; clears away what a crash left under the name it is built by. */
  #mayBuild(cacheId: string): boolean {
    checkLayerId(cacheId);
    if (this.#isPresent(cacheId)) return false;
    this.#discard("diff", newPrefix + cacheId);
    return true;
  }

  /** Makes a layer of the empty directory with its building name. */
  #build(cacheId: string, parent: string | undefined, fill?: (diff: number) => void): void {
    const building = this.#path("diff", newPrefix + cacheId);
    try {
      const lower = parent === undefined ? [] : this.#lowerOn(cacheId, parent);
      const below = parent === undefined ? undefined : this.diffPath(parent);
      dressLayer(building, below, this.#owner, fill);
      const list = lower.map((id) => `${id}\n`).join("");
      writeFileSync(this.#path("layers", cacheId), list, { mode: 0o644 });
      makeMountPoint(this.#path("mnt", cacheId));
      renameat2(AT_FDCWD, building, AT_FDCWD, this.diffPath(cacheId));
      this.#lower.set(cacheId, lower);
    } catch (error) {
      this.#discard("diff", newPrefix + cacheId);
      throw error;
    }
  }

  #lowerOn(cacheId: string, parent: string): readonly string[] {
    const lower = [parent, ...this.#lowerOf(parent)];
    this.#requirePresent(cacheId, lower);
    const depth = this.#support.kernel === undefined ? maxDepth : kernelDepth;
    if (lower.length > depth) {
      throw tooDeep(cacheId, depth);
    }
    return lower;
  }

  #initPlan(parent: string | undefined): InitStep[] {
    return this.#initPlans.of(parent, () => ({
      directories: parent === undefined ? [] : this.#layerDirectories(parent),
      whiteouts: this.whiteouts,
    }));
  }

  async #remove(cacheId: string): Promise<void> {
    // Also of one that is gone there may be a mount that could not be taken away.
    if (!this.#isPresent(cacheId)) return await this.#removeMountPoint(cacheId);
    this.#discard("diff", cacheId);
    this.#lower.delete(cacheId);
    this.#initPlans.forget(cacheId);
    removeIfExists(this.#path("layers", cacheId));
    this.#discard("layouts", cacheId);
    // Last, since it may take its time: by now the name is free.
    await this.#removeMountPoint(cacheId);
  }

  async #removeMountPoint(cacheId: string): Promise<void> {
    const path = this.#path("mnt", cacheId);
    const remove = () => {
      try {
        rmdirSync(path);
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw error;
      }
    };
    try {
      remove();
    } catch (error) {
      if (!isErrno(error, "EBUSY", "ENOTCONN", "ENOTEMPTY")) throw error;
      await this.#mounts.drop(path);
      remove();
    }
  }

  /** Moves a tree out of the way and deletes it; nothing where there is none. */
  #discard(part: Part, name: string): void {
    const path = this.#path(part, name);
    if (name.startsWith(gonePrefix)) {
      this.#removal.add(path);
      return;
    }
    const gone = this.#path(part, gonePrefix + randomUUID());
    try {
      renameat2(AT_FDCWD, path, AT_FDCWD, gone);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      throw error;
    }
    this.#removal.add(gone);
  }

  /** Ids of the layers below, nearest first. */
  #lowerOf(cacheId: string): readonly string[] {
    const known = this.#lower.get(cacheId);
    if (known !== undefined) return known;
    checkLayerId(cacheId);
    const text = this.#isPresent(cacheId) ? readIfExists(this.#path("layers", cacheId)) : undefined;
    if (text === undefined) throw noSuchLayer(cacheId);
    const lower = text.split("\n").filter(Boolean);
    // A container's begins with its init layer, whatever a power cut left of the file.
    const init = `${cacheId}${initSuffix}`;
    if (this.#isPresent(init) && lower[0] !== init) throw damagedList(cacheId);
    for (const id of lower) if (!/^[A-Za-z0-9][A-Za-z0-9_-]+$/.test(id)) throw damagedList(cacheId);
    this.#lower.set(cacheId, lower);
    return lower;
  }

  #layerDirectories(cacheId: string): string[] {
    const lower = this.#lowerOf(cacheId);
    this.#requirePresent(cacheId, lower);
    return [this.diffPath(cacheId), ...lower.map((id) => this.diffPath(id))];
  }

  #requirePresent(cacheId: string, lower: readonly string[]): void {
    const missing = lower.find((id) => !this.#isPresent(id));
    if (missing !== undefined) throw goneBelow(cacheId, missing, this.diffPath(missing));
  }

  #isPresent(cacheId: string): boolean {
    return pathExists(this.#path("diff", cacheId));
  }

  #path(part: Part, name: string): string {
    return join(this.#home, part, name);
  }
}

/** Not by mkdir's way of making all directories, which looks at what is there: that may be a union, and its server silent. */
function makeMountPoint(path: string): void {
  try {
    mkdirSync(path, { mode: 0o755 });
  } catch (error) {
    if (!isErrno(error, "EEXIST")) throw error;
  }
}

function damagedList(cacheId: string): BerthError {
  return new BerthError("internal", `the list of the layers below ${cacheId} is damaged`, {
    operation: "read layer",
    object: cacheId,
    hint: `Its own files are in aufs/diff/${cacheId}.`,
  });
}
