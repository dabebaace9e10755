/**
 * The content of an uploaded image archive whose layers were unpacked while it arrived.
 *
 * Owns the stages: those that no layer took are removed with it. Never waits for the archive's order: what belongs to what is
 * only asked when all is there.
 */
import type { Readable } from "node:stream";
import { BerthError } from "#errors/errors.ts";
import type { Logger } from "#errors/logger-types.ts";
import type { LayerUnpacker, StorageDriver } from "#storage/driver-types.ts";
import { insideName } from "#storage/staging/inside-name.ts";
import type {
  StagedArchive,
  StagedFile,
  StagedLayer,
  StageProgress,
} from "#storage/staging/staging-types.ts";
import { receiveInWorker } from "#storage/worker/client-pipe.ts";
import { type ArchiveContent, followLink, invalidArchive, tooLarge } from "./archive-content.ts";
import { diskError, isNoSpace } from "./disk-errors.ts";

export interface ReceiveOptions {
  storage: StorageDriver;
  unpacker: LayerUnpacker;
  report: (progress: StageProgress) => void;
  signal: AbortSignal | undefined;
  log: Logger;
}

export class StagedFiles implements ArchiveContent {
  readonly #storage: StorageDriver;
  readonly #log: Logger;
  readonly #stages = new Set<string>();
  readonly #files = new Map<string, StagedFile>();
  readonly #layers = new Map<string, StagedLayer>();
  readonly #broken = new Map<string, string>();
  readonly #links = new Map<string, string>();

  private constructor({ storage, log }: ReceiveOptions) {
    this.#storage = storage;
    this.#log = log;
  }

  /** Are driver and unpacker able to? */
  static isPossible({ storage, unpacker }: Pick<ReceiveOptions, "storage" | "unpacker">): boolean {
    return [storage.stage, storage.adopt, storage.unstage, unpacker.stage].every((one) => one !== undefined);
  }

  /** Reads the whole archive, plain, gzip or zstd. Throws BerthError; nothing is left then. */
  static async receive(archive: Readable, options: ReceiveOptions): Promise<StagedFiles> {
    const files = new StagedFiles(options);
    try {
      await files.#receive(archive, options);
      return files;
    } catch (error) {
      await files[Symbol.asyncDispose]();
      // Whoever tries again, with less, finds the room.
      if (isNoSpace(error)) await options.storage.settled();
      options.signal?.throwIfAborted();
      throw diskError(error, "load image", "archive");
    }
  }

  async #receive(archive: Readable, { storage, unpacker, report, signal }: ReceiveOptions): Promise<void> {
    const stage = async () => {
      if (storage.stage === undefined) throw new Error(`driver ${storage.name} has no stages`);
      const made = await storage.stage();
      this.#stages.add(made.key);
      return made;
    };
    const staged = await receiveInWorker(archive, async (source) => {
      const request = { source: source.number, whiteouts: storage.whiteouts };
      return (await unpacker.stage?.(request, { stage, onProgress: report, signal })) as StagedArchive;
    });
    for (const file of staged.files) this.#files.set(file.name, file);
    for (const layer of staged.layers) this.#layers.set(layer.name, layer);
    for (const { name, reason } of staged.broken) this.#broken.set(name, reason);
    for (const [name, target] of staged.links) this.#links.set(name, target);
  }

  has(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  async read(name: string, limit: number): Promise<Buffer> {
    const place = this.#find(name);
    if (place === undefined) throw invalidArchive(`${name} is missing`);
    const file = this.#files.get(place);
    if (file === undefined) throw invalidArchive(this.#broken.get(place) ?? `${name} is an archive itself`);
    if (file.content.length > limit) throw tooLarge(name, limit);
    return Buffer.from(file.content);
  }

  layer(name: string): StagedLayer {
    const place = this.#find(name);
    if (place === undefined) throw invalidArchive(`layer ${name} is missing`);
    const layer = this.#layers.get(place);
    if (layer !== undefined) return layer;
    throw new BerthError("invalid", this.#broken.get(place) ?? `invalid archive: ${name} is no layer`, {
      operation: "load image",
      object: name,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const key of this.#stages) {
      try {
        await this.#storage.unstage?.(key);
      } catch (error) {
        // Neither a reason to keep the others, nor to tell of a load whose images are there that it failed.
        this.#log.warn("a staged layer stays; the next start removes it", { stage: key, error });
      }
    }
    this.#stages.clear();
  }

  #find(name: string): string | undefined {
    const isThere = (at: string) => this.#files.has(at) || this.#layers.has(at) || this.#broken.has(at);
    return followLink(insideName(name), isThere, this.#links);
  }
}
