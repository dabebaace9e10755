/**
 * The contract of a storage driver.
 *
 * A *layer directory* is known to the driver by a cache id (64 hex digits, random, as Docker's). Image layers are
 * made once: `create`, unpack into `diffPath`, done; they never change afterwards. A container owns two more: the init layer
 * (`<id>-init`: mount points and empty files that would otherwise be created in the container's own layer) and its
 * writable layer. All calls are idempotent where a crash could make them be repeated: creating what exists in full
 * and removing what is gone both succeed. No call blocks the event loop for more than a few milliseconds.
 */
import type { RootfsPlan } from "#runtime/launch-types.ts";
import type { Stage, StagedArchive, StageProgress, StageRequest } from "#storage/staging/staging-types.ts";
import type { IdMap } from "#storage/unpack/id-map.ts";
import type { UnpackLimits } from "#storage/unpack/unpack-limits.ts";

export interface StorageDriver {
  readonly name: string;
  /**
   * How archives are unpacked into its layers. "overlay", "aufs": a layer holds its own entries alone and marks what it hides.
   * "apply": a layer begins as all of the one below, which therefore has to be whole before `create`, and what it hides is
   * removed from it.
   */
  readonly whiteouts: Whiteouts;
  /** Makes ready what layers need before any of them is used; once, before all else. What it finds damaged it leaves alone. */
  start?(): Promise<void>;
  /** Pairs shown by `docker info` under the storage driver: [["Backing Filesystem", "extfs"], …]. */
  status(): Promise<[string, string][] | null>;
  /** A read-only layer on top of `parent` (undefined: the lowest). Its contents are then unpacked into `diffPath`. */
  create(cacheId: string, parent: string | undefined): Promise<void>;
  /**
   * How many bytes a container may write by these `--storage-opt`s of its, or by the driver's own options; undefined for no
   * limit. Throws "invalid" with Docker's text for an option that is unknown, malformed or cannot be kept here.
   */
  sizeLimit(options: SizeOptions): number | undefined;
  /** Init layer and writable layer of a container; `<cacheId>-init` and `<cacheId>`. */
  createWritable(cacheId: string, parent: string | undefined, options: WritableOptions): Promise<void>;
  /** Frees the name at once and deletes the tree in the background; a crash in between is finished by `reconcile`. */
  remove(cacheId: string): Promise<void>;
  /**
   * A place for a layer whose identity is not known yet, as an image archive arrives; for drivers whose layers hold their
   * own entries alone. What a crash leaves of it `reconcile` removes.
   */
  stage?(): Promise<Stage>;
  /**
   * What was unpacked in a stage becomes the content of a layer that was created and is empty; the layers below are whole by
   * then. `describesRoot`: its root looks as it should; otherwise it gets the looks of the one below.
   */
  adopt?(cacheId: string, key: string, options: { describesRoot: boolean }): Promise<void>;
  /** Removes a stage with what is left in it, in the background. */
  unstage?(key: string): Promise<void>;
  exists(cacheId: string): Promise<boolean>;
  /**
   * Bytes of its own content, which those below it do not have: every file and link, however many names it has, once
   * (`kernel/tree-size.ts`). Measured in a worker; 0 for a layer that is not there.
   */
  size(cacheId: string): Promise<number>;
  /**
   * Makes a layer's files reachable for this use until disposed, counted: for drivers whose layers are not simply there
   * (a device that is mounted, a union that is served). What an earlier daemon left reachable is taken over. Called
   * by `hold-layers.ts`.
   */
  hold?(cacheId: string, use: LayerUse): Promise<AsyncDisposable>;
  /** Layers that an earlier daemon left reachable, and nobody holds by now, are so no longer; once, after the start. */
  releaseUnheld?(): Promise<void>;
  diffPath(cacheId: string): string;
  /**
   * Where the layout of its archive is kept (`layout/layout-format.ts`): a directory, made while the layer is unpacked and
   * removed with it. Missing for layers of earlier versions.
   */
  layoutPath(cacheId: string): string;
  /** How the launcher mounts it. */
  rootfs(cacheId: string): Promise<RootfsPlan>;
  /** Directories that make up the merged view, uppermost first, absolute; for look-ups without a mount. */
  layerDirectories(cacheId: string): Promise<string[]>;
  /** What the changes of a layer are told by (`changes/layer-changes.ts`): for `docker diff` and commit. */
  comparison(cacheId: string): Promise<LayerComparison>;
  /** `GraphDriver.Data` of docker inspect (LowerDir, MergedDir, UpperDir, WorkDir); null where a driver has none. */
  metadata(cacheId: string): Promise<Record<string, string> | null>;
  /** Remove what no row owns, finish removals; at start-up. */
  reconcile(known: ReadonlySet<string>): Promise<void>;
  /** Resolves when every removal begun so far has ended; rejects with the first failure. */
  settled(): Promise<void>;
  /** Ends background work. */
  close(): Promise<void>;
}

/**
 * What a layer is held for. "content": what `diffPath` and `layerDirectories` name. "comparison": what `comparison` names.
 * "root": what `rootfs` names, and its content.
 */
export type LayerUse = "content" | "comparison" | "root";

/** How the names that a layer hides are kept: as marks of overlayfs or of AUFS (layer-marks.ts), or by removing what they hide. */
export type Whiteouts = "overlay" | "aufs" | "apply";

/** Layers to look through. */
export interface LayerView {
  /** Uppermost first, absolute. */
  directories: readonly string[];
  whiteouts: Whiteouts;
}

/** A layer beside what it stands on. All paths are directories of the host. */
export interface LayerComparison {
  /** The layer's own directory. */
  directory: string;
  /** Those whose merged view is what the layer began as, uppermost first; empty for a lowest layer. */
  lower: string[];
  /** "overlay", "aufs": `directory` holds changes and marks alone. "apply": it holds everything, changed or not. */
  whiteouts: Whiteouts;
}

/** Who owns what a driver makes by itself: root, or whom root of the containers' user namespace is on the host. */
export interface Owner {
  uid: number;
  gid: number;
}

/** `--storage-opt`s of one container: {size: "10G"}. */
export type SizeOptions = Readonly<Record<string, string>>;

/** The owner of the mount points in the init layer: directories ("/proc") and files ("/etc/hosts"). */
export interface WritableOptions extends Partial<Owner> {
  /** What `sizeLimit` answered. */
  size?: number | undefined;
}

/** Unpacks one layer archive into a layer directory, in a worker thread. */
export interface LayerUnpacker {
  /**
   * `source` is a file with the (possibly compressed) layer; kind by magic bytes. Verifies `diffId` (sha256 of the
   * uncompressed archive) when given. On failure the target directory holds garbage that the caller removes.
   */
  unpack(request: UnpackRequest): Promise<UnpackResult>;
  /** Unpacks the layers of an image archive into stages as it arrives (`staging/stage-archive.ts`). */
  stage?(request: StageRequest, options: StageOptions): Promise<StagedArchive>;
  /** Gives directories of a layer that its archive only implied the looks they have in those below. */
  imply?(directory: string, lower: LayerView, paths: string[]): Promise<void>;
  close(): Promise<void>;
}

export interface StageOptions {
  stage: () => Promise<Stage>;
  onProgress: (progress: StageProgress) => void;
  signal?: AbortSignal | undefined;
}

export interface UnpackRequest {
  source: string;
  target: string;
  /** The driver's `layoutPath`, to be made; without it the archive cannot be written again. */
  layout?: string;
  /** How whiteouts are written: as marks of either kind, or applied by removal. */
  whiteouts: Whiteouts;
  expectedDiffId?: string;
  /**
   * Layer directories below, uppermost first: directories that the archive implies without describing them get the
   * mode and owner they have there (else 0755, root).
   */
  lower?: string[];
  /** Whose the files are on the host; without it, owners are as the archive has them. */
  idMap?: IdMap;
  /** How much it may unpack to; `defaultLimits` if not given. */
  limits?: UnpackLimits;
  /** Called with compressed bytes consumed so far, a few times a second. */
  onProgress?: (consumed: number) => void;
  signal?: AbortSignal;
}

export interface UnpackResult {
  /** "sha256:…" of the uncompressed archive. */
  diffId: string;
  /** Sum of regular file sizes, bytes. */
  size: number;
}
