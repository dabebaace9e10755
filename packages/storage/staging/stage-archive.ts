/**
 * Reads an image archive from a descriptor and unpacks each layer in it at once, whatever the order; small files are kept in
 * memory. Runs in a storage worker.
 *
 * What a file is, its content tells: a tar archive, or something compressed, is a layer, all else is kept if it is small. No name of the archive
 * ever becomes a path. Layers that turn out broken are told, not thrown: nobody may need them.
 */
import { posix } from "node:path";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { type Aborted, ClientPace } from "#kernel/client-pace.ts";
import { ERRNO } from "#kernel/errno.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { awaitReady } from "#kernel/pipes.ts";
import { SyscallError } from "#kernel/syscall-error.ts";
import { duplicate, read } from "#kernel/syscalls.ts";
import { uncompressed } from "#storage/files/uncompressed.ts";
import { insideName } from "#storage/staging/inside-name.ts";
import { type LayerIntake, openLayerIntake } from "#storage/staging/layer-intake.ts";
import type { Stage, StagedArchive, StageProgress, StageRequest } from "#storage/staging/staging-types.ts";
import { blockSize, type TarEntry } from "#storage/tar/tar-entry.ts";
import { looksLikeTar } from "#storage/tar/tar-header.ts";
import { type TarHandler, TarReader } from "#storage/tar/tar-reader.ts";
import { detectCompression } from "#storage/unpack/layer-source.ts";

/** Bytes read at once; as many as the pipe holds. */
const pieceLength = 1 << 20;
/** Of a compressed archive: each is a buffer of its own. */
const packedLength = 128 << 10;
/** Bytes that tell how an archive is compressed. */
const magicLength = 8;
/** Milliseconds between two looks whether the result is still wanted. */
const patience = 250;
/** An image archive has a few entries per layer. */
const entryLimit = 100_000;
/** A file that is no layer: manifests and configurations have at most 4 MiB. */
const fileLimit = 8 << 20;
/** All of them together. */
const filesLimit = 128 << 20;

export interface StageHooks {
  /** A place for the next layer. */
  stage(): Promise<Stage>;
  report(progress: StageProgress): void;
  aborted: Aborted;
}

/** Throws "invalid" for an archive that is no tar archive, cut short or leads out of itself; "no-space"; an AbortError. */
export async function stageArchive(request: StageRequest, hooks: StageHooks): Promise<StagedArchive> {
  using source = new FileDescriptor(duplicate(request.source));
  const collector = new Collector(request, hooks);
  const reader = new TarReader(collector);
  try {
    const take = async (piece: Buffer): Promise<void> => {
      if (hooks.aborted()) throw aborted();
      reader.write(piece);
      await collector.settle();
    };
    await readArchive(source.number, new ClientPace(hooks.aborted), take);
    reader.finish();
    return collector.result;
  } finally {
    collector.close();
  }
}

/** Gives `take` the archive piece by piece, uncompressed; a piece may be overwritten when `take` has settled. */
async function readArchive(
  fd: number,
  pace: ClientPace,
  take: (piece: Buffer) => Promise<void>,
): Promise<void> {
  const piece = Buffer.allocUnsafeSlow(pieceLength);
  let length = 0;
  // Enough to tell what it is.
  while (length < magicLength) {
    const more = readSome(fd, piece.subarray(length), pace);
    if (more === 0) break;
    length += more;
  }
  if (detectCompression(piece.subarray(0, length)) !== "none") {
    const start = Buffer.from(piece.subarray(0, length));
    for await (const plain of uncompressed(pieces(start, fd, pace))) await take(plain);
    return;
  }
  for (; length > 0; length = readSome(fd, piece, pace)) await take(piece.subarray(0, length));
}

/** A fresh buffer each: who decompresses holds on to some. */
async function* pieces(start: Buffer, fd: number, pace: ClientPace): AsyncGenerator<Buffer> {
  yield start;
  for (;;) {
    const piece = Buffer.allocUnsafe(packedLength);
    const length = readSome(fd, piece, pace);
    if (length === 0) return;
    yield piece.subarray(0, length);
  }
}

/** Waits for bytes; 0 at the end. */
function readSome(fd: number, into: Buffer, pace: ClientPace): number {
  for (;;) {
    for (let ready = false; !ready; ) {
      const began = performance.now();
      ready = awaitReady(fd, "read", patience);
      if (pace.waited(performance.now() - began)) throw aborted();
    }
    try {
      const length = read(fd, into);
      pace.moved(length);
      return length;
    } catch (error) {
      if (!(error instanceof SyscallError) || error.errno !== ERRNO.EAGAIN) throw error;
    }
  }
}

function aborted(): DOMException {
  return new DOMException("loading was cancelled", "AbortError");
}

/** A file of the archive while its bytes come. */
interface Incoming {
  name: string;
  size: number;
  received: number;
  /** Its first bytes, until they tell what it is. */
  start: Buffer[];
  kept: Buffer[] | undefined;
  layer: LayerIntake | undefined;
}

/**
 * Takes the entries. The tar reader is synchronous and layers are not: what one piece of the archive brings is noted, and done
 * in order by `settle`, while the piece is still there.
 */
class Collector implements TarHandler {
  readonly result: StagedArchive = { files: [], layers: [], links: [], broken: [] };
  readonly #request: StageRequest;
  readonly #hooks: StageHooks;
  readonly #work: (() => Promise<void> | void)[] = [];
  #file: Incoming | undefined;
  /** What `settle` is at. */
  #current: Incoming | undefined;
  #count = 0;
  #keptBytes = 0;

  constructor(request: StageRequest, hooks: StageHooks) {
    this.#request = request;
    this.#hooks = hooks;
  }

  entry(entry: TarEntry): void {
    if (++this.#count > entryLimit) throw invalidArchive(`more than ${entryLimit} entries`);
    this.#file = undefined;
    if (entry.type === "directory") return;
    const name = insideName(entry.name);
    if (entry.type === "file") {
      const { size } = entry;
      const file: Incoming = { name, size, received: 0, start: [], kept: undefined, layer: undefined };
      this.#file = file;
      this.#work.push(() => {
        this.#current = file;
      });
    } else if (entry.type === "hardlink") {
      this.result.links.push([name, insideName(entry.linkName)]);
    } else if (entry.type === "symlink") {
      // Relative to the directory of the link.
      const base = entry.linkName.startsWith("/") ? "" : posix.dirname(name);
      this.result.links.push([name, insideName(posix.join(base, entry.linkName))]);
    } else {
      throw invalidArchive(`unexpected ${entry.type} ${JSON.stringify(entry.name)}`);
    }
  }

  data(chunk: Buffer): void {
    const file = this.#file;
    if (file !== undefined) this.#work.push(() => this.#take(file, chunk));
  }

  end(): void {
    const file = this.#file;
    if (file !== undefined) this.#work.push(() => this.#end(file));
    this.#file = undefined;
  }

  /** Does what was noted. */
  async settle(): Promise<void> {
    for (const work of this.#work) {
      const pending = work();
      if (pending !== undefined) await pending;
    }
    this.#work.length = 0;
  }

  close(): void {
    this.#current?.layer?.close();
  }

  #take(file: Incoming, chunk: Buffer): Promise<void> | void {
    file.received += chunk.length;
    if (file.layer !== undefined) {
      this.#hooks.report({ name: file.name, current: file.received, total: file.size });
      return file.layer.write(chunk);
    }
    if (file.kept !== undefined) return this.#keep(file, chunk);
    if (file.received < Math.min(blockSize, file.size)) {
      file.start.push(Buffer.from(chunk));
      return;
    }
    return this.#decide(file, file.start.length === 0 ? chunk : Buffer.concat([...file.start, chunk]));
  }

  async #decide(file: Incoming, start: Buffer): Promise<void> {
    file.start = [];
    const compression = detectCompression(start);
    if (compression === "none" && !looksLikeTar(start)) {
      file.kept = [];
      this.#keep(file, start);
      return;
    }
    const { key, target, layout } = await this.#hooks.stage();
    const { idMap, limits, whiteouts } = this.#request;
    const directories = { target, layout, whiteouts, ...(idMap && { idMap }) };
    file.layer = openLayerIntake({ key, name: file.name, compression, target: directories, limits });
    await file.layer.write(start);
  }

  #keep(file: Incoming, chunk: Buffer): void {
    if (file.size > fileLimit || this.#keptBytes + chunk.length > filesLimit) {
      file.kept = [];
      return;
    }
    this.#keptBytes += chunk.length;
    file.kept?.push(Buffer.from(chunk));
  }

  async #end(file: Incoming): Promise<void> {
    const { name, layer } = file;
    if (layer === undefined) {
      const content = Buffer.concat(file.kept ?? file.start);
      if (content.length === file.size) this.result.files.push({ name, content });
      else
        this.result.broken.push({
          name,
          reason: `${name} is neither a layer nor small enough to be anything else`,
        });
      return;
    }
    try {
      this.result.layers.push(await layer.finish());
    } catch (error) {
      if (!isBerthError(error, "invalid") && !isBerthError(error, "too-large")) throw error;
      this.result.broken.push({ name, reason: error.message });
    } finally {
      layer.close();
      this.#current = undefined;
    }
  }
}

function invalidArchive(why: string): BerthError {
  return new BerthError("invalid", `invalid archive: ${why}`, { operation: "load image" });
}
