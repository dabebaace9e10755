/**
 * Builds one layer from the bytes of its archive, uncompressed, as they come: hashed, unpacked, and their layout recorded.
 *
 * Owns what it opens; disposing before `finish` leaves garbage in the directories, which their owner removes. The
 * thread's umask must be 0.
 */
import { createHash } from "node:crypto";
import { S_IFDIR, S_IFMT } from "#kernel/file-syscalls.ts";
import type { UnpackRequest, UnpackResult } from "#storage/driver-types.ts";
import { LayerStack } from "#storage/layered-lookup.ts";
import { LayoutRecorder } from "#storage/layout/layout-recorder.ts";
import { LayoutWriter } from "#storage/layout/layout-writer.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";
import { LayerTree } from "#storage/unpack/layer-tree.ts";

export type LayerTarget = Pick<UnpackRequest, "target" | "layout" | "whiteouts" | "lower" | "idMap">;

export interface BuildOptions {
  /** Directories that the archive implies are noted, for when the layer below is known. */
  collectImplied?: boolean;
}

export class LayerBuilder implements Disposable {
  readonly #hash = createHash("sha256");
  readonly #lower: LayerStack;
  readonly #layout: LayoutWriter | undefined;
  readonly #tree: LayerTree;
  readonly #reader: TarReader;
  #length = 0;
  /** Directories that the archive implies without describing them, each after those above it. */
  readonly implied = new Set<string>();

  constructor({
    target,
    layout,
    whiteouts,
    lower = [],
    idMap,
    collectImplied = false,
  }: LayerTarget & BuildOptions) {
    using stack = new DisposableStack();
    this.#lower = stack.use(new LayerStack(lower, whiteouts));
    const writer = layout === undefined ? undefined : stack.use(new LayoutWriter(layout));
    this.#layout = writer;
    this.#tree = stack.use(
      new LayerTree(target, {
        whiteouts,
        lowerDirectory: (path) => {
          if (collectImplied) this.implied.add(path);
          const status = this.#lower.stat(path, { follow: false });
          return status !== undefined && (status.mode & S_IFMT) === S_IFDIR ? status : undefined;
        },
        describes: (path) => this.implied.delete(path),
        ...(idMap && { idMap }),
        ...(writer && { keep: (parent, name, path) => writer.keep(parent, name, path) }),
      }),
    );
    this.#reader = new TarReader(writer === undefined ? this.#tree : new LayoutRecorder(this.#tree, writer));
    this.#disposeAll = stack.move();
  }

  readonly #disposeAll: DisposableStack;

  /** Has the archive an entry for the root itself? */
  get describesRoot(): boolean {
    return this.#tree.describesRoot;
  }

  /** Bytes taken so far. */
  get length(): number {
    return this.#length;
  }

  /** Takes the next bytes, which are free for reuse then. Throws BerthError. */
  write(chunk: Buffer): void {
    this.#hash.update(chunk);
    this.#length += chunk.length;
    this.#reader.write(chunk);
  }

  /** After the last bytes. `check` may refuse the diff id by throwing. */
  finish(check: (diffId: string) => void = () => {}): UnpackResult {
    this.#reader.finish();
    this.#tree.finish();
    const diffId = `sha256:${this.#hash.digest("hex")}`;
    check(diffId);
    this.#layout?.finish(this.#length, diffId);
    return { diffId, size: this.#tree.size };
  }

  [Symbol.dispose](): void {
    this.#disposeAll.dispose();
  }
}
