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

export interface StorageDriver {
  readonly name: string;
  /** Pairs shown by `docker info` under the storage driver: [["Backing Filesystem", "extfs"], …]. */
  status(): Promise<[string, string][]>;
  /** A read-only layer on top of `parent` (undefined: the lowest). Its contents are then unpacked into `diffPath`. */
  create(cacheId: string, parent: string | undefined): Promise<void>;
  /** Init layer and writable layer of a container; `<cacheId>-init` and `<cacheId>`. */
  createWritable(cacheId: string, parent: string | undefined, options: WritableOptions): Promise<void>;
  /** Frees the name at once and deletes the tree in the background; a crash in between is finished by `reconcile`. */
  remove(cacheId: string): Promise<void>;
  exists(cacheId: string): Promise<boolean>;
  /**
   * Bytes of its own content, which those below it do not have: every file and link, however many names it has, once
   * (`kernel/tree-size.ts`). Measured in a worker; 0 for a layer that is not there.
   */
  size(cacheId: string): Promise<number>;
  diffPath(cacheId: string): string;
  /** How the launcher mounts it. */
  rootfs(cacheId: string): Promise<RootfsPlan>;
  /** Directories that make up the merged view, uppermost first, absolute; for look-ups without a mount. */
  layerDirectories(cacheId: string): Promise<string[]>;
  /** `GraphDriver.Data` of docker inspect (LowerDir, MergedDir, UpperDir, WorkDir). */
  metadata(cacheId: string): Promise<Record<string, string>>;
  /** Remove what no row owns, finish removals; at start-up. */
  reconcile(known: ReadonlySet<string>): Promise<void>;
}

export interface WritableOptions {
  /** Directories ("/proc") and files ("/etc/hosts") the init layer holds as mount points. */
  uid?: number;
  gid?: number;
}

/** Unpacks one layer archive into a layer directory, in a worker thread. */
export interface LayerUnpacker {
  /**
   * `source` is a file with the (possibly compressed) layer; kind by magic bytes. Verifies `diffId` (sha256 of the
   * uncompressed archive) when given. On failure the target directory holds garbage that the caller removes.
   */
  unpack(request: UnpackRequest): Promise<UnpackResult>;
  close(): Promise<void>;
}

export interface UnpackRequest {
  source: string;
  target: string;
  /** How whiteouts are written: character device 0/0 and trusted.overlay.opaque, or applied by removal. */
  whiteouts: "overlay" | "apply";
  expectedDiffId?: string;
  /**
   * Layer directories below, uppermost first: directories that the archive implies without describing them get the
   * mode and owner they have there (else 0755, root).
   */
  lower?: string[];
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
