/**
 * Stands between the tar reader and the tree that is unpacked, and writes the layout of what passes.
 */
import { crc32 } from "node:zlib";
import type { LayoutWriter } from "#storage/layout/layout-writer.ts";
import type { SparsePart, TarEntry } from "#storage/tar/tar-entry.ts";
import type { TarHandler } from "#storage/tar/tar-reader.ts";
import type { LayerTree } from "#storage/unpack/layer-tree.ts";

export class LayoutRecorder implements TarHandler {
  readonly #tree: LayerTree;
  readonly #writer: LayoutWriter;
  /** Where the content of the current entry goes; undefined if it is in no file of the layer. */
  #path: string | undefined;
  #parts: SparsePart[] | undefined;
  #length = 0;
  #checksum = 0;

  constructor(tree: LayerTree, writer: LayoutWriter) {
    this.#tree = tree;
    this.#writer = writer;
  }

  raw(bytes: Buffer): void {
    this.#writer.raw(bytes);
  }

  entry(entry: TarEntry): void {
    this.#tree.entry(entry);
    this.#path = this.#tree.contentPath;
    this.#parts = entry.sparse;
    this.#length = 0;
    this.#checksum = 0;
  }

  data(chunk: Buffer, offset: number): void {
    this.#tree.data(chunk, offset);
    if (this.#path === undefined) {
      this.#writer.raw(chunk);
      return;
    }
    this.#length += chunk.length;
    this.#checksum = crc32(chunk, this.#checksum);
  }

  end(): void {
    this.#tree.end();
    if (this.#path === undefined || this.#length === 0) return;
    this.#writer.content(this.#path, this.#length, this.#checksum, this.#parts);
  }
}
