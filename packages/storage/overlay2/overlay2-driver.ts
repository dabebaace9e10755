/**
 * The overlay2 storage driver, with Docker's layout on disk:
 *
 *   overlay2/<id>/diff    content of the layer          overlay2/<id>/link    its short name
 *   overlay2/<id>/lower   "l/AAA:l/BBB", above first    overlay2/<id>/work    for the kernel
 *   overlay2/<id>/merged  mount point                   overlay2/l/<name>     → ../<id>/diff
 *   overlay2/<id>/layout  how its archive was laid out (Berth's own)
 *
 * A layer is built under the name `.new-<id>` and renamed when it is whole; it is renamed to `.gone-…` before it is deleted.
 * So a directory with a plain name is always complete, and what a crash leaves is known by its name. Nothing is mounted
 * here: the launcher does that in the container's own mount namespace. Init layers are used again (spare-inits.ts).
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { mkdirat, renameat2, symlinkat } from "#kernel/file-syscalls.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { AT_FDCWD } from "#kernel/syscalls.ts";
import type { RootfsPlan } from "#runtime/launch-types.ts";
import { BackgroundRemoval } from "#storage/background-removal.ts";
import type {
  LayerComparison,
  Owner,
  SizeOptions,
  StorageDriver,
  WritableOptions,
} from "#storage/driver-types.ts";
import { InitPlans, type InitStep, makeInitLayer } from "#storage/init-layer.ts";
import { pathExists, removeIfExists } from "#storage/layer-files.ts";
import { dressLayer } from "#storage/layer-looks.ts";
import {
  checkLayerId,
  goneBelow,
  gonePrefix,
  initSuffix,
  newPrefix,
  ownerOf,
  tooDeep,
} from "#storage/layer-names.ts";
import { linkDirectory, linkTarget, newLinkName } from "#storage/overlay2/layer-links.ts";
import { type LayerRecord, leadsTo, readLayerRecord, restoreLinks } from "#storage/overlay2/layer-record.ts";
import { ContainerSizes } from "#storage/overlay2/overlay2-options.ts";
import { type OverlaySupport, probeOverlay } from "#storage/overlay2/probe.ts";
import { SpareInits } from "#storage/overlay2/spare-inits.ts";
import { makeLayerDirectory, spreadLayers } from "#storage/spread-layers.ts";
import { adoptStage, checkStage, newStage } from "#storage/staging/stage-names.ts";
import type { Stage } from "#storage/staging/staging-types.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** Layers below one another at most; as Docker. */
const maxDepth = 128;

/** What a layer's small files say; never changes once the layer exists. */
interface KnownLayer extends LayerRecord {
  /** The directories of those below, once somebody has asked. */
  below?: string[];
}

export interface Overlay2Options {
  /** The daemon's data root; layers live in `<dataRoot>/overlay2`. */
  dataRoot: string;
  /** "key=value" (`overlay2-options.ts`). */
  options?: readonly string[];
  /** Who owns the root directory of a lowest layer. */
  owner?: Owner;
}

/**
 * Makes the driver's directory and checks that overlayfs works there ("unavailable" otherwise) and that the options can be
 * kept ("invalid").
 */
export function createOverlay2Driver(options: Overlay2Options): Overlay2Driver {
  const home = join(options.dataRoot, "overlay2");
  mkdirSync(home, { recursive: true, mode: 0o710 });
  mkdirSync(join(home, linkDirectory), { recursive: true, mode: 0o700 });
  const spread = spreadLayers(home);
  const support = probeOverlay(home);
  const sizes = ContainerSizes.from(options.options ?? [], home, support.backingFileSystem);
  return new Overlay2Driver({ home, support, spread, sizes, owner: options.owner ?? { uid: 0, gid: 0 } });
}

interface Overlay2Parts {
  home: string;
  support: OverlaySupport;
  /** What `spreadLayers` answered there. */
  spread: boolean;
  sizes: ContainerSizes;
  owner: Owner;
}

export class Overlay2Driver implements StorageDriver {
  readonly name = "overlay2";
  readonly whiteouts = "overlay";
  readonly #home: string;
  readonly #support: OverlaySupport;
  readonly #owner: Owner;
  readonly #spread: boolean;
  readonly #sizes: ContainerSizes;
  readonly #records = new Map<string, KnownLayer>();
  readonly #initPlans = new InitPlans();
  readonly #spareInits: SpareInits;
  readonly #removal = new BackgroundRemoval();
  readonly #measuring = new StorageWorkers(1);

  constructor({ home, support, spread, sizes, owner }: Overlay2Parts) {
    this.#home = home;
    this.#spareInits = new SpareInits(home);
    this.#spread = spread;
    this.#owner = owner;
    this.#support = support;
    this.#sizes = sizes;
  }

  async status(): Promise<[string, string][]> {
    return [
      ["Backing Filesystem", this.#support.backingFileSystem],
      ["Supports d_type", "true"],
      ["Using metacopy", String(this.#support.metacopy)],
      ["Native Overlay Diff", String(this.#support.nativeDiff)],
      ["userxattr", "false"],
    ];
  }

  sizeLimit(options: SizeOptions): number | undefined {
    return this.#sizes.of(options);
  }

  async create(cacheId: string, parent: string | undefined): Promise<void> {
    if (!this.#mayBuild(cacheId)) return;
    await makeLayerDirectory(this.#home, newPrefix + cacheId, 0o710, this.#spread);
    this.#build(cacheId, parent, false);
  }

  async createWritable(cacheId: string, parent: string | undefined, options: WritableOptions): Promise<void> {
    const init = `${cacheId}${initSuffix}`;
    const owner = { uid: options.uid ?? 0, gid: options.gid ?? 0 };
    if (this.#mayBuild(init)) {
      this.#spareInits.use(init, parent, owner);
      const link = this.#spareInits.take(init);
      if (link === undefined) {
        this.#create(init, parent, false, (diff) => {
          makeInitLayer(diff, this.#initPlan(parent), owner, this.whiteouts);
        });
      } else {
        this.#records.set(init, { link, lower: parent === undefined ? [] : this.#lowerOn(init, parent) });
      }
    }
    this.#create(cacheId, init, true, undefined, options.size);
  }

  async remove(cacheId: string): Promise<void> {
    checkLayerId(cacheId);
    for (const id of [cacheId, `${cacheId}${initSuffix}`]) this.#remove(id);
  }

  async stage(): Promise<Stage> {
    const key = newStage();
    await makeLayerDirectory(this.#home, key, 0o710, this.#spread);
    const target = this.#path(key, "diff");
    mkdirat(AT_FDCWD, target, 0o755);
    return { key, target, layout: this.#path(key, "layout") };
  }

  async adopt(cacheId: string, key: string, { describesRoot }: { describesRoot: boolean }): Promise<void> {
    const stage = { directory: this.#path(checkStage(key), "diff"), layout: this.#path(key, "layout") };
    const layer = { directory: this.diffPath(cacheId), layout: this.layoutPath(cacheId) };
    const looks = describesRoot ? undefined : (this.#layerDirectories(cacheId)[1] ?? layer.directory);
    adoptStage(stage, layer, looks);
  }

  async unstage(key: string): Promise<void> {
    this.#discard(checkStage(key));
  }

  async exists(cacheId: string): Promise<boolean> {
    return this.#isPresent(cacheId);
  }

  async size(cacheId: string): Promise<number> {
    return (await this.#measuring.run({ kind: "measure", path: this.diffPath(cacheId) })) as number;
  }

  diffPath(cacheId: string): string {
    return this.#path(cacheId, "diff");
  }

  layoutPath(cacheId: string): string {
    return this.#path(cacheId, "layout");
  }

  async rootfs(cacheId: string): Promise<RootfsPlan> {
    const { lower } = this.#record(cacheId);
    if (lower.length === 0) return { kind: "directory", path: this.diffPath(cacheId) };
    return {
      kind: "overlay",
      base: this.#home,
      lower: [...lower],
      upper: `${cacheId}/diff`,
      work: `${cacheId}/work`,
      merged: `${cacheId}/merged`,
      options: [...this.#support.mountOptions],
    };
  }

  async layerDirectories(cacheId: string): Promise<string[]> {
    return this.#layerDirectories(cacheId);
  }

  async comparison(cacheId: string): Promise<LayerComparison> {
    const [directory = "", ...lower] = this.#layerDirectories(cacheId);
    return { directory, lower, whiteouts: this.whiteouts };
  }

  async metadata(cacheId: string): Promise<Record<string, string>> {
    const [, ...lower] = this.#layerDirectories(cacheId);
    return {
      ...(lower.length === 0 ? {} : { LowerDir: lower.join(":") }),
      MergedDir: this.#path(cacheId, "merged"),
      UpperDir: this.#path(cacheId, "diff"),
      WorkDir: this.#path(cacheId, "work"),
    };
  }

  async reconcile(known: ReadonlySet<string>): Promise<void> {
    for (const name of readdirSync(this.#home)) {
      if (name === linkDirectory) continue;
      if (name.startsWith(gonePrefix)) this.#removal.add(join(this.#home, name));
      else if (name.startsWith(".")) this.#discard(name);
      else if (!known.has(name) && !known.has(ownerOf(name))) this.#remove(name);
    }
    const links = join(this.#home, linkDirectory);
    const linked = new Set<string>();
    for (const link of readdirSync(links)) {
      const cacheId = leadsTo(join(links, link));
      if (cacheId === undefined || !this.#isPresent(cacheId)) rmSync(join(links, link), { recursive: true });
      else linked.add(cacheId);
    }
    restoreLinks(this.#home, linked);
  }

  settled(): Promise<void> {
    return this.#removal.settled();
  }

  async close(): Promise<void> {
    await Promise.all([this.#removal.close(), this.#measuring.close()]);
  }

  /** A container's layers are too small for the place to matter. */
  #create(
    cacheId: string,
    parent: string | undefined,
    writable: boolean,
    fill?: (diff: number) => void,
    size?: number,
  ): void {
    if (!this.#mayBuild(cacheId)) return;
    const building = join(this.#home, newPrefix + cacheId);
    mkdirat(AT_FDCWD, building, 0o710);
    // While it is empty: what is made in it inherits.
    if (size !== undefined) this.#sizes.limits?.apply(building, size);
    this.#build(cacheId, parent, writable, fill);
  }

  /** False if it is there already; clears away what a crash left under the name it is built by. */
  #mayBuild(cacheId: string): boolean {
    checkLayerId(cacheId);
    if (this.#isPresent(cacheId)) return false;
    if (pathExists(join(this.#home, newPrefix + cacheId))) this.#discard(newPrefix + cacheId);
    return true;
  }

  /** Makes a layer of the empty directory with its building name. */
  #build(
    cacheId: string,
    parent: string | undefined,
    writable: boolean,
    fill?: (diff: number) => void,
  ): void {
    const building = join(this.#home, newPrefix + cacheId);
    const link = newLinkName();
    let lower: string[];
    try {
      lower = parent === undefined ? [] : this.#lowerOn(cacheId, parent);
      const diff = join(building, "diff");
      mkdirat(AT_FDCWD, diff, 0o755);
      const below = parent === undefined ? undefined : this.diffPath(parent);
      dressLayer(diff, below, this.#owner, fill);
      writeFileSync(join(building, "link"), link, { mode: 0o644 });
      if (lower.length > 0) {
        writeFileSync(join(building, "lower"), lower.join(":"), { mode: 0o644 });
        mkdirat(AT_FDCWD, join(building, "work"), 0o700);
      }
      if (writable) mkdirat(AT_FDCWD, join(building, "merged"), 0o700);
      symlinkat(linkTarget(cacheId), AT_FDCWD, join(this.#home, linkDirectory, link));
      if (parent !== undefined) this.#markCommitted(parent);
      renameat2(AT_FDCWD, building, AT_FDCWD, this.#path(cacheId));
    } catch (error) {
      removeIfExists(join(this.#home, linkDirectory, link));
      this.#discard(newPrefix + cacheId);
      throw error;
    }
    this.#records.set(cacheId, { link, lower });
  }

  #lowerOn(cacheId: string, parent: string): string[] {
    const below = this.#record(parent);
    const lower = [`${linkDirectory}/${below.link}`, ...below.lower];
    if (lower.length > maxDepth) {
      throw tooDeep(cacheId, maxDepth);
    }
    return lower;
  }

  /** Docker marks layers that others were put on. */
  #markCommitted(cacheId: string): void {
    const path = this.#path(cacheId, "committed");
    if (!pathExists(path)) writeFileSync(path, "", { mode: 0o600 });
  }

  #initPlan(parent: string | undefined): InitStep[] {
    return this.#initPlans.of(parent, () => ({
      directories: parent === undefined ? [] : this.#layerDirectories(parent),
      whiteouts: this.whiteouts,
    }));
  }

  #remove(cacheId: string): void {
    const link = this.#linkOf(cacheId);
    if (this.#spareInits.keep(cacheId, link)) {
      this.#records.delete(cacheId);
      return;
    }
    for (const spare of this.#spareInits.drop(cacheId)) this.#discard(spare);
    const gone = join(this.#home, gonePrefix + randomUUID());
    try {
      this.#sizes.limits?.release(this.#path(cacheId));
      renameat2(AT_FDCWD, this.#path(cacheId), AT_FDCWD, gone);
    } catch (error) {
      if (isErrno(error, "ENOENT")) return;
      throw error;
    }
    this.#records.delete(cacheId);
    this.#initPlans.forget(cacheId);
    if (link !== undefined) removeIfExists(join(this.#home, linkDirectory, link));
    this.#removal.add(gone);
  }

  /** Short name of a layer that may be damaged or absent; only well-formed ones. */
  #linkOf(cacheId: string): string | undefined {
    try {
      const link = this.#record(cacheId).link;
      return /^[A-Z2-7]{26}$/.test(link) ? link : undefined;
    } catch {
      // Reconciliation removes links that lead nowhere.
      return undefined;
    }
  }

  /** Moves something unfinished out of the way and deletes it. */
  #discard(name: string): void {
    const gone = join(this.#home, gonePrefix + randomUUID());
    this.#sizes.limits?.release(join(this.#home, name));
    renameat2(AT_FDCWD, join(this.#home, name), AT_FDCWD, gone);
    this.#removal.add(gone);
  }

  #record(cacheId: string): KnownLayer {
    const known = this.#records.get(cacheId);
    if (known !== undefined) return known;
    checkLayerId(cacheId);
    const record = readLayerRecord(this.#home, cacheId);
    this.#records.set(cacheId, record);
    return record;
  }

  #layerDirectories(cacheId: string): string[] {
    const record = this.#record(cacheId);
    record.below ??= this.#directoriesOf(record, cacheId);
    const missing = record.below.find((path) => !pathExists(path));
    if (missing !== undefined) throw goneBelow(cacheId, basename(dirname(missing)), missing);
    return [this.diffPath(cacheId), ...record.below];
  }

  #directoriesOf(record: KnownLayer, cacheId: string): string[] {
    return record.lower.map((link) => {
      const below = leadsTo(join(this.#home, link));
      if (below === undefined) {
        throw new BerthError("internal", `the link ${join(this.#home, link)} of a layer is damaged`, {
          operation: "read layer",
          object: cacheId,
          hint: "restart the daemon: it makes links again whose layers are there; otherwise pull the image again",
        });
      }
      return this.diffPath(below);
    });
  }

  #isPresent(cacheId: string): boolean {
    return pathExists(this.#path(cacheId));
  }

  #path(cacheId: string, ...names: string[]): string {
    return join(this.#home, cacheId, ...names);
  }
}
