/**
 * One layer that arrives inside a larger archive: decompressed where it is compressed, unpacked, hashed both ways.
 *
 * A layer that is broken takes the rest of its bytes all the same and says so at its end, since the archive around it goes on.
 */
import { createHash, type Hash } from "node:crypto";
import type { Transform } from "node:stream";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { StagedLayer } from "#storage/staging/staging-types.ts";
import { LayerBuilder, type LayerTarget } from "#storage/unpack/layer-builder.ts";
import type { Compression } from "#storage/unpack/layer-source.ts";
import { checkLimits, defaultLimits, type UnpackLimits } from "#storage/unpack/unpack-limits.ts";

export interface LayerIntake {
  /** Takes the next bytes; they are free for reuse when it has returned, or its promise is settled. Throws "no-space". */
  write(chunk: Buffer): Promise<void> | void;
  /** Throws "invalid" or "too-large" for a layer that is broken. */
  finish(): Promise<StagedLayer>;
  close(): void;
}

export interface IntakeOptions {
  key: string;
  name: string;
  compression: Compression;
  target: LayerTarget;
  limits: UnpackLimits | undefined;
}

const chunkSize = 128 * 1024;

export function openLayerIntake(options: IntakeOptions): LayerIntake {
  const { compression, name } = options;
  if (compression === "none") return new PlainIntake(options);
  if (compression === "gzip") return new CompressedIntake(options, createGunzip({ chunkSize }));
  if (compression === "zstd") return new CompressedIntake(options, createZstdDecompress({ chunkSize }));
  return new RefusedIntake(`layer ${name} is compressed with ${compression}, which is not supported`);
}

class PlainIntake implements LayerIntake {
  readonly #options: IntakeOptions;
  readonly #builder: LayerBuilder;
  readonly #limits: UnpackLimits;
  #failure: unknown;

  constructor(options: IntakeOptions) {
    this.#options = options;
    this.#limits = options.limits ?? defaultLimits;
    this.#builder = new LayerBuilder({ ...options.target, collectImplied: true });
  }

  write(chunk: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      this.#builder.write(chunk);
      checkLimits({ ...this.#limits, ratio: 0 }, 0, this.#builder.length);
    } catch (error) {
      this.#failure = brokenOr(error);
    }
  }

  async finish(): Promise<StagedLayer> {
    return this.result();
  }

  result(digest?: string): StagedLayer {
    if (this.#failure !== undefined) throw this.#failure;
    const { diffId, size } = this.#builder.finish();
    const { key, name } = this.#options;
    const { describesRoot, implied } = this.#builder;
    return { key, name, digest: digest ?? diffId, diffId, size, describesRoot, implied: [...implied] };
  }

  get length(): number {
    return this.#builder.length;
  }

  close(): void {
    this.#builder[Symbol.dispose]();
  }
}

class CompressedIntake implements LayerIntake {
  readonly #plain: PlainIntake;
  readonly #stream: Transform;
  readonly #limits: UnpackLimits;
  readonly #hash: Hash = createHash("sha256");
  #packed = 0;
  /** What the decompressor, or what comes out of it, has failed with. */
  #failure: unknown;
  readonly #over: Promise<void>;

  constructor(options: IntakeOptions, stream: Transform) {
    this.#plain = new PlainIntake(options);
    this.#limits = options.limits ?? defaultLimits;
    this.#stream = stream;
    stream.on("data", (piece: Buffer) => this.#unpack(piece));
    this.#over = new Promise((resolve) => {
      stream.on("end", resolve);
      stream.on("close", resolve);
      stream.on("error", (cause) => {
        this.#failure ??= damaged(options, cause);
        resolve();
      });
    });
  }

  async write(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk);
    this.#packed += chunk.length;
    if (this.#failure !== undefined) {
      brokenOr(this.#failure);
      return;
    }
    // Called back when it is decompressed, and what came out was unpacked; or when the stream has failed.
    await new Promise<void>((resolve) => this.#stream.write(chunk, () => resolve()));
    if (this.#failure !== undefined) brokenOr(this.#failure);
  }

  async finish(): Promise<StagedLayer> {
    if (this.#failure === undefined) {
      this.#stream.end();
      await this.#over;
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#plain.result(`sha256:${this.#hash.digest("hex")}`);
  }

  close(): void {
    this.#stream.destroy();
    this.#plain.close();
  }

  #unpack(piece: Buffer): void {
    if (this.#failure !== undefined) return;
    try {
      this.#plain.write(piece);
      checkLimits(this.#limits, this.#packed, this.#plain.length);
    } catch (error) {
      this.#failure = error;
    }
  }
}

/** Passes over a layer that cannot be read. */
class RefusedIntake implements LayerIntake {
  readonly #reason: string;

  constructor(reason: string) {
    this.#reason = reason;
  }

  write(): void {}

  async finish(): Promise<StagedLayer> {
    throw new BerthError("invalid", this.#reason, {
      operation: "load image",
      hint: "Compress it with gzip or zstd, or not at all.",
    });
  }

  close(): void {}
}

/** What is wrong with the layer; throws what is wrong with the host. */
function brokenOr(error: unknown): BerthError {
  if (isBerthError(error, "invalid") || isBerthError(error, "too-large")) return error;
  throw error;
}

function damaged({ name, compression }: IntakeOptions, cause: Error): BerthError {
  return new BerthError("invalid", `layer ${name} is damaged: ${compression}: ${cause.message}`, {
    operation: "load image",
    cause,
  });
}
