/**
 * The files of containers, for the engine: what changed, archives out of and into them, layers made of changes. All work is
 * done by workers of its own, which a slow client may hold up without anybody else noticing.
 */
import { FileDescriptor } from "#kernel/fd.ts";
import type { LayerChange } from "#storage/changes/change-types.ts";
import type { LayerComparison, UnpackResult } from "#storage/driver-types.ts";
import type { ExtractOptions } from "#storage/files/extract-tree.ts";
import type { FileTask, Sink, TakenPath } from "#storage/files/file-tasks.ts";
import type { PathStatus, RootRequest } from "#storage/files/root-types.ts";
import type { IdMap } from "#storage/unpack/id-map.ts";
import type { LayerTarget } from "#storage/unpack/layer-builder.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";

/** What needs nobody outside, at once. */
const tasksAtOnce = 8;
/** Archives on their way at once, and how long one may stand still while others wait, ms. */
const archivesAtOnce = 16;
const archiveStall = 10_000;

export class ContainerFiles implements AsyncDisposable {
  readonly #workers = new StorageWorkers(tasksAtOnce);
  /** Each is at the mercy of a client. */
  readonly #archivers = new StorageWorkers(archivesAtOnce, archiveStall);
  readonly #idMap: IdMap | undefined;

  /** `idMap`: whose the containers' files are on the host; archives have the owners that are seen inside. */
  constructor(idMap?: IdMap) {
    this.#idMap = idMap;
  }

  /** As `docker diff` tells it: sorted by path, what was deleted after what is there. */
  async changes(comparison: LayerComparison): Promise<LayerChange[]> {
    return (await this.#run({ kind: "changes", comparison })) as LayerChange[];
  }

  /** Opens a path in a container's root; undefined if nothing is there. Links of its directories are followed inside. */
  async open(root: RootRequest, path: string): Promise<OpenPath | undefined> {
    const taken = (await this.#run({ kind: "take", root, path })) as TakenPath | undefined;
    return taken && new OpenPath(this.#archivers, taken, this.#idMap);
  }

  /**
   * Unpacks an archive, compressed or not, into the directory `path`, reading it from a pipe, whose end stays its owner's.
   * Throws "not-found", "invalid" (no directory, or what is wrong with the archive), "forbidden" (read-only).
   */
  async extract(
    root: RootRequest,
    path: string,
    source: FileDescriptor,
    options: Omit<ExtractOptions, "idMap">,
    signal: AbortSignal,
  ): Promise<void> {
    const mapped = { ...options, ...(this.#idMap && { idMap: this.#idMap }) };
    const task = { kind: "extract", root, path, source: source.number, options: mapped } as const;
    await this.#archivers.run({ kind: "files", task }, { signal });
  }

  /** Fills `target`, the directories of a new layer, with what a container changed; it is on the disk then. */
  async commit(comparison: LayerComparison, target: LayerTarget): Promise<UnpackResult> {
    const mapped = { ...target, ...(this.#idMap && { idMap: this.#idMap }) };
    return (await this.#run({ kind: "commit", comparison, target: mapped })) as UnpackResult;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#workers.close(), this.#archivers.close()]);
  }

  #run(task: FileTask): Promise<unknown> {
    return this.#workers.run({ kind: "files", task });
  }
}

/** A path that stays open, with everything mounted below it, until disposed: whatever becomes of the container. */
export class OpenPath implements Disposable {
  readonly status: PathStatus;
  readonly #workers: StorageWorkers;
  readonly #taken: TakenPath;
  readonly #handles: FileDescriptor[];
  readonly #idMap: IdMap | undefined;

  constructor(workers: StorageWorkers, taken: TakenPath, idMap: IdMap | undefined) {
    this.#workers = workers;
    this.#taken = taken;
    this.#idMap = idMap;
    this.status = taken.status;
    this.#handles = [new FileDescriptor(taken.directory), new FileDescriptor(taken.tree)];
  }

  /**
   * Writes it as an archive. "named": under the name it was asked by. "inside": what is in it, and on its own file
   * system. Rejects with an AbortError when the reader is gone.
   */
  async pack(content: "named" | "inside", sink: Sink, signal: AbortSignal): Promise<void> {
    const task = { kind: "pack", taken: this.#taken, content, sink, idMap: this.#idMap } as const;
    await this.#workers.run({ kind: "files", task }, { signal });
  }

  [Symbol.dispose](): void {
    for (const handle of this.#handles) handle.close();
  }
}
