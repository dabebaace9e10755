/**
 * Writes a layer's archive again, byte for byte: raw bytes from its layout, content from its directory.
 *
 * For worker threads; synchronous, holds one buffer and one block of the layout whatever the layer's size. Files are opened
 * below the layer's directory and never through a link. The whole is compared with the layer's diff id. Files have checksums of
 * their own, so that the error for one that was changed on the disk names it.
 */
import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import { BerthError } from "#errors/errors.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import {
  close,
  O_DIRECTORY,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  open,
  pread,
  RESOLVE_BENEATH,
  RESOLVE_NO_SYMLINKS,
  read,
  tryOpenat2,
} from "#kernel/syscalls.ts";
import { damagedLayout, type LayoutTrailer, layerOf } from "#storage/layout/layout-format.ts";
import { type ContentRecord, LayoutReader, RecordDecoder } from "#storage/layout/layout-reader.ts";
import { ReplacedPaths } from "#storage/layout/replaced-paths.ts";

/** A layer on the disk; plain data, can be sent to a worker. */
export interface StoredLayer {
  /** The driver's `diffPath`. */
  directory: string;
  /** The driver's `layoutPath`. */
  layout: string;
}

export interface ReplayOptions {
  /**
   * Compare the whole with the diff id at the end, and the files with their checksums only where it is another (default). Off for
   * those who hash it themselves: every file is compared as it goes.
   */
  verify?: boolean;
}

/** What is read, hashed and copied stays in a processor's cache. */
const bufferLength = 256 * 1024;
/** Room that is worth reading into: less than this is given out first. */
const enough = 64 * 1024;

/**
 * Size and digest of a layer's archive, without reading the layer. Throws "conflict" where it was stored without a layout,
 * "internal" for a damaged one.
 */
export function layoutOf(layout: string): Pick<LayoutTrailer, "size" | "diffId"> {
  using reader = new LayoutReader(layout);
  const { size, diffId } = reader.trailer;
  return { size, diffId };
}

/**
 * Yields the archive; each piece is valid until the next is asked for. Throws as `layoutOf`, and "internal" that names
 * layer and path where a file isn't what it was.
 */
export function* replayLayer(layer: StoredLayer, { verify = true }: ReplayOptions = {}): Generator<Buffer> {
  using reader = new LayoutReader(layer.layout);
  const { trailer } = reader;
  const hash = verify ? createHash("sha256") : undefined;
  let total = 0;
  using content = new LayerContent(layer, trailer, { checked: !verify });
  for (const piece of pieces(reader, content, layer)) {
    hash?.update(piece);
    total += piece.length;
    yield piece;
  }
  if (total !== trailer.size) throw damagedLayout(layer.layout, "it tells of another size");
  const actual = hash && `sha256:${hash.digest("hex")}`;
  if (actual !== undefined && actual !== trailer.diffId) {
    findChanged(layer);
    throw damagedLayout(layer.layout, `it gives ${actual} instead of ${trailer.diffId}`);
  }
}

/** Throws for the first file whose content is not what it was. */
function findChanged(layer: StoredLayer): void {
  for (const _ of replayLayer(layer, { verify: false }));
}

function* pieces(reader: LayoutReader, content: LayerContent, layer: StoredLayer): Generator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(bufferLength);
  const decoder = new RecordDecoder(layer.layout);
  let length = 0;
  for (let block = reader.nextBlock(); block !== undefined; block = reader.nextBlock()) {
    for (const record of decoder.records(block)) {
      if (record.kind === "raw") {
        const { bytes } = record;
        for (let at = 0; at < bytes.length; ) {
          const copied = bytes.copy(buffer, length, at);
          at += copied;
          length += copied;
          if (length < bufferLength) break;
          yield buffer;
          length = 0;
        }
        continue;
      }
      using file = content.open(record.content);
      while (file.left > 0) {
        if (bufferLength - length < Math.min(file.left + 1, enough)) {
          yield buffer.subarray(0, length);
          length = 0;
        }
        length += file.readInto(buffer, length);
      }
    }
  }
  if (length > 0) yield buffer.subarray(0, length);
}

/** The files of a layer, opened one after the other in the order of its archive. */
class LayerContent implements Disposable {
  readonly #layer: StoredLayer;
  readonly #root: FileDescriptor;
  readonly #layout: FileDescriptor;
  readonly #replaced: ReplacedPaths;
  readonly #checked: boolean;
  #index = 0;

  /** `checked`: content is compared with its checksums. */
  constructor(layer: StoredLayer, trailer: LayoutTrailer, { checked }: { checked: boolean }) {
    this.#layer = layer;
    this.#checked = checked;
    this.#root = new FileDescriptor(open(layer.directory, O_PATH | O_DIRECTORY));
    this.#layout = new FileDescriptor(open(layer.layout, O_PATH | O_DIRECTORY));
    this.#replaced = new ReplacedPaths(trailer.replaced);
  }

  [Symbol.dispose](): void {
    this.#root.close();
    this.#layout.close();
  }

  open(record: ContentRecord): FileContent {
    const kept = this.#replaced.find(record.path, this.#index);
    this.#index += 1;
    const directory = kept === undefined ? this.#root : this.#layout;
    const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    const resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    const fd = tryOpenat2(directory.number, kept ?? record.path, flags, 0, resolve);
    if (fd < 0) {
      const cause = new SyscallError("openat2", -fd, [record.path]);
      throw changed(this.#layer, record.path, `cannot be opened (${cause.code})`, cause);
    }
    return new FileContent(fd, record, this.#checked, (what) => changed(this.#layer, record.path, what));
  }
}

/** The content of one file, read piece by piece; it is as long as it was, and where it is checked has the same checksum. */
class FileContent implements Disposable {
  /** Bytes still to come. */
  left: number;
  readonly #fd: number;
  readonly #record: ContentRecord;
  readonly #checked: boolean;
  readonly #changed: (what: string) => BerthError;
  #checksum = 0;
  #part = 0;
  /** Bytes read of the current part. */
  #done = 0;

  constructor(fd: number, record: ContentRecord, checked: boolean, changed: (what: string) => BerthError) {
    this.#fd = fd;
    this.#record = record;
    this.#checked = checked;
    this.#changed = changed;
    this.left = record.length;
  }

  [Symbol.dispose](): void {
    close(this.#fd);
  }

  /** Reads into what is free of `buffer` from `at` on; answers how many bytes. */
  readInto(buffer: Buffer, at: number): number {
    const got = this.#record.parts === undefined ? this.#readOn(buffer, at) : this.#readPart(buffer, at);
    if (got === 0) throw this.#changed("is shorter than it was");
    this.left -= got;
    if (this.left < 0) throw this.#changed("is longer than it was");
    if (!this.#checked) return got;
    this.#checksum = crc32(buffer.subarray(at, at + got), this.#checksum);
    if (this.left === 0 && this.#checksum !== this.#record.checksum)
      throw this.#changed("has another content");
    return got;
  }

  /** One byte more is asked for than there should be. */
  #readOn(buffer: Buffer, at: number): number {
    return read(this.#fd, buffer.subarray(at, Math.min(buffer.length, at + this.left + 1)));
  }

  #readPart(buffer: Buffer, at: number): number {
    const parts = this.#record.parts ?? [];
    while (this.#done === parts[this.#part]?.length) {
      this.#part += 1;
      this.#done = 0;
    }
    const { offset = 0, length = 0 } = parts[this.#part] ?? {};
    const end = Math.min(buffer.length, at + length - this.#done);
    const got = pread(this.#fd, buffer.subarray(at, end), offset + this.#done);
    this.#done += got;
    return got;
  }
}

function changed({ layout }: StoredLayer, path: string, what: string, cause?: unknown): BerthError {
  const layer = layerOf(layout);
  return new BerthError("internal", `file ${JSON.stringify(path)} of layer ${layer} ${what}`, {
    operation: "replay layer",
    object: path,
    hint: "Something wrote to the daemon's data; remove the image and pull or load it again.",
    ...(cause === undefined ? {} : { cause }),
  });
}
