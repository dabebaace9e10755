/**
 * The files of an uploaded archive, kept flat in a directory of ours while an image is loaded from them.
 *
 * No name of the archive ever becomes a path: files are stored under numbers, and the archive's own names, links included, live
 * only in a map. So nothing can escape, whatever the archive says. Disk space is the limit of sizes.
 */
import { closeSync, openSync, write } from "node:fs";
import { mkdir, readFile, rm, stat } from "node:fs/promises";
import { join, posix } from "node:path";
import type { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { type BerthError, isBerthError } from "#errors/errors.ts";
import { insideName } from "#storage/staging/inside-name.ts";
import type { TarEntry } from "#storage/tar/tar-entry.ts";
import { type TarHandler, TarReader } from "#storage/tar/tar-reader.ts";
import { type Compression, detectCompression } from "#storage/unpack/layer-source.ts";
import { type ArchiveContent, followLink, invalidArchive, tooLarge } from "./archive-content.ts";
import { diskError, isNoSpace } from "./disk-errors.ts";

/** An image archive has a few entries per layer. */
const entryLimit = 100_000;
const magicLength = 6;

export class ArchiveFiles implements ArchiveContent {
  readonly #directory: string;
  readonly #files = new Map<string, string>();
  readonly #links = new Map<string, string>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  /** Reads the whole archive, plain, gzip or zstd, into `directory`, which it makes and owns. Throws BerthError. */
  static async extract(archive: Readable, directory: string, signal?: AbortSignal): Promise<ArchiveFiles> {
    const files = new ArchiveFiles(directory);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await files.#extract(archive, signal);
      return files;
    } catch (error) {
      await files[Symbol.asyncDispose]();
      signal?.throwIfAborted();
      throw readError(error);
    }
  }

  has(name: string): boolean {
    return this.#path(name) !== undefined;
  }

  async read(name: string, limit: number): Promise<Buffer> {
    const path = this.#path(name);
    if (path === undefined) throw invalidArchive(`${name} is missing`);
    if ((await stat(path)).size > limit) throw tooLarge(name, limit);
    return readFile(path);
  }

  layer(name: string): { path: string } {
    const path = this.#path(name);
    if (path === undefined) throw invalidArchive(`layer ${name} is missing`);
    return { path };
  }

  #path(name: string): string | undefined {
    const place = followLink(insideName(name), (at) => this.#files.has(at), this.#links);
    return place === undefined ? undefined : this.#files.get(place);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #extract(archive: Readable, signal: AbortSignal | undefined): Promise<void> {
    const collector = new Collector(this.#directory, this.#files, this.#links);
    const reader = new TarReader(collector);
    try {
      await readDecompressed(
        archive,
        async (chunk) => {
          reader.write(chunk);
          await collector.flush();
        },
        signal,
      );
      reader.finish();
    } finally {
      collector.close();
    }
  }
}

/** Feeds `take` the archive's uncompressed bytes; waits for it before the next. */
export async function readDecompressed(
  archive: Readable,
  take: (chunk: Buffer) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { start, rest } = await peek(archive);
  const sink = async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) await take(chunk);
  };
  const options = signal === undefined ? {} : { signal };
  const decompress = decompressor(detectCompression(start));
  if (decompress === undefined) await pipeline(rest, sink, options);
  else await pipeline(rest, decompress, sink, options);
}

/** The first bytes of a stream, and the stream with them still in it. */
async function peek(archive: Readable): Promise<{ start: Buffer; rest: AsyncIterable<Buffer> }> {
  const source = (archive as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  let ended = false;
  while (start.length < magicLength && !ended) {
    const { done, value } = await source.next();
    if (done === true) ended = true;
    else start = Buffer.concat([start, value]);
  }
  async function* rest(): AsyncGenerator<Buffer> {
    try {
      if (start.length > 0) yield start;
      while (!ended) {
        const { done, value } = await source.next();
        if (done === true) return;
        yield value;
      }
    } finally {
      await source.return?.();
    }
  }
  return { start, rest: rest() };
}

function decompressor(compression: Compression): Transform | undefined {
  if (compression === "gzip") return createGunzip();
  if (compression === "zstd") return createZstdDecompress();
  if (compression === "none") return undefined;
  throw invalidArchive(`compression ${compression} is not supported; use gzip or zstd`);
}

/** Takes the entries; collects the writes of one chunk so that they can be waited for: the tar reader is synchronous. */
class Collector implements TarHandler {
  readonly #directory: string;
  readonly #files: Map<string, string>;
  readonly #links: Map<string, string>;
  #writes: { fd: number; bytes: Buffer; offset: number }[] = [];
  #ended: number[] = [];
  #count = 0;
  #fd: number | undefined;

  constructor(directory: string, files: Map<string, string>, links: Map<string, string>) {
    this.#directory = directory;
    this.#files = files;
    this.#links = links;
  }

  entry(entry: TarEntry): void {
    if (++this.#count > entryLimit) throw invalidArchive(`more than ${entryLimit} entries`);
    if (entry.type === "directory") return;
    const name = insideName(entry.name);
    if (entry.type === "file") {
      const path = join(this.#directory, String(this.#count));
      this.#fd = openSync(path, "wx", 0o600);
      this.#files.set(name, path);
    } else if (entry.type === "hardlink") {
      this.#links.set(name, insideName(entry.linkName));
    } else if (entry.type === "symlink") {
      // Relative to the directory of the link; normalise refuses to leave the archive.
      const base = entry.linkName.startsWith("/") ? "" : posix.dirname(name);
      this.#links.set(name, insideName(posix.join(base, entry.linkName)));
    } else {
      throw invalidArchive(`unexpected ${entry.type} ${JSON.stringify(entry.name)}`);
    }
  }

  data(chunk: Buffer, offset: number): void {
    if (this.#fd !== undefined) this.#writes.push({ fd: this.#fd, bytes: Buffer.from(chunk), offset });
  }

  end(): void {
    if (this.#fd !== undefined) this.#ended.push(this.#fd);
    this.#fd = undefined;
  }

  async flush(): Promise<void> {
    const writes = this.#writes;
    this.#writes = [];
    for (const { fd, bytes, offset } of writes) await writeAll(fd, bytes, offset);
    for (const fd of this.#ended.splice(0)) closeSync(fd);
  }

  close(): void {
    if (this.#fd !== undefined) this.#ended.push(this.#fd);
    for (const fd of this.#ended.splice(0)) closeSync(fd);
  }
}

const writeAt = promisify(write);

async function writeAll(fd: number, bytes: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await writeAt(fd, bytes, done, bytes.length - done, offset + done);
    done += bytesWritten;
  }
}

/** What a broken upload means. */
function readError(error: unknown): BerthError {
  if (isBerthError(error) || isNoSpace(error)) return diskError(error, "load image", "archive");
  const { code, message } = error as NodeJS.ErrnoException;
  if (code?.startsWith("Z_") || code?.startsWith("ZSTD_"))
    return invalidArchive(`damaged compression (${message})`);
  if (code === "ERR_STREAM_PREMATURE_CLOSE" || code === "ECONNRESET") return invalidArchive("unexpected EOF");
  return diskError(error, "load image", "archive");
}
