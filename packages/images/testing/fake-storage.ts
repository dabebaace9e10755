/**
 * A storage driver and an unpacker for unit tests: plain directories, regular files only, no root needed.
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { BerthError } from "#errors/errors.ts";
import type { RootfsPlan } from "#runtime/launch-types.ts";
import type {
  LayerComparison,
  LayerUnpacker,
  StorageDriver,
  UnpackRequest,
  UnpackResult,
} from "#storage/driver-types.ts";
import { TarReader } from "#storage/tar/tar-reader.ts";
import { detectCompression } from "#storage/unpack/layer-source.ts";

export class FakeStorage implements StorageDriver {
  readonly name = "fake";
  readonly whiteouts = "overlay";
  readonly root: string;
  readonly parents = new Map<string, string | undefined>();
  /** What the next removals fail with, one each. */
  readonly removalFailures: Error[] = [];

  constructor(root: string) {
    this.root = root;
    mkdirSync(root, { recursive: true });
  }

  async status(): Promise<[string, string][]> {
    return [];
  }

  async create(cacheId: string, parent: string | undefined): Promise<void> {
    if (parent !== undefined && !existsSync(join(this.root, parent))) throw new Error(`no parent ${parent}`);
    mkdirSync(this.diffPath(cacheId), { recursive: true });
    this.parents.set(cacheId, parent);
  }

  sizeLimit(): undefined {
    return undefined;
  }

  async createWritable(cacheId: string, parent: string | undefined): Promise<void> {
    await this.create(cacheId, parent);
  }

  async remove(cacheId: string): Promise<void> {
    const failure = this.removalFailures.shift();
    if (failure !== undefined) throw failure;
    await rm(join(this.root, cacheId), { recursive: true, force: true });
  }

  async exists(cacheId: string): Promise<boolean> {
    return existsSync(join(this.root, cacheId));
  }

  async size(): Promise<number> {
    return 0;
  }

  /** The archive a layer was unpacked from: it stands in for the layer's own. */
  archivePath(cacheId: string): string {
    return join(this.root, cacheId, "layer.tar");
  }

  diffPath(cacheId: string): string {
    return join(this.root, cacheId, "diff");
  }

  layoutPath(cacheId: string): string {
    return join(this.root, cacheId, "layout");
  }

  async rootfs(): Promise<RootfsPlan> {
    throw new Error("not in the fake");
  }

  async layerDirectories(cacheId: string): Promise<string[]> {
    const parent = this.parents.get(cacheId);
    return [this.diffPath(cacheId), ...(parent === undefined ? [] : await this.layerDirectories(parent))];
  }

  async comparison(cacheId: string): Promise<LayerComparison> {
    const [directory = "", ...lower] = await this.layerDirectories(cacheId);
    return { directory, lower, whiteouts: this.whiteouts };
  }

  async metadata(cacheId: string): Promise<Record<string, string>> {
    return { UpperDir: this.diffPath(cacheId) };
  }

  async reconcile(): Promise<void> {}

  async settled(): Promise<void> {}

  async close(): Promise<void> {}

  /** Names of all layer directories there are. */
  list(): string[] {
    return readdirSync(this.root).sort();
  }
}

export class FakeUnpacker implements LayerUnpacker {
  /** Called before each unpack: to count, to wait, to fail. */
  before: (request: UnpackRequest) => Promise<void> = async () => {};
  unpacked = 0;

  async unpack(request: UnpackRequest): Promise<UnpackResult> {
    await this.before(request);
    request.signal?.throwIfAborted();
    const hash = createHash("sha256");
    let size = 0;
    let file: { path: string; chunks: Buffer[] } | undefined;
    const reader = new TarReader({
      entry(entry) {
        const path = join(request.target, entry.name);
        if (entry.type === "directory") mkdirSync(path, { recursive: true });
        file = entry.type === "file" ? { path, chunks: [] } : undefined;
        size += entry.size;
      },
      data(chunk) {
        file?.chunks.push(Buffer.from(chunk));
      },
      end() {
        if (file === undefined) return;
        mkdirSync(dirname(file.path), { recursive: true });
        writeFileSync(file.path, Buffer.concat(file.chunks));
      },
    });
    const archive: Buffer[] = [];
    for await (const chunk of await decompressed(request.source)) {
      hash.update(chunk);
      archive.push(chunk);
      reader.write(chunk);
    }
    reader.finish();
    const diffId = `sha256:${hash.digest("hex")}`;
    if (request.expectedDiffId !== undefined && diffId !== request.expectedDiffId) {
      throw new BerthError("invalid", `layer has diff id ${diffId}, expected ${request.expectedDiffId}`, {
        operation: "unpack layer",
      });
    }
    writeFileSync(join(dirname(request.target), "layer.tar"), Buffer.concat(archive));
    this.unpacked++;
    return { diffId, size };
  }

  async close(): Promise<void> {}
}

async function decompressed(path: string): Promise<AsyncIterable<Buffer>> {
  const source: Readable = createReadStream(path);
  let start: Buffer = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { end: 7 })) start = chunk as Buffer;
  const compression = detectCompression(start);
  if (compression === "gzip") return source.pipe(createGunzip());
  if (compression === "zstd") return source.pipe(createZstdDecompress());
  return source;
}
