/**
 * Compressed layer blobs on their way from a registry to a layer directory.
 *
 * Owns `<data root>/image/blobs/sha256` (verified, named by digest) and `<data root>/image/partial` (of pulls that did
 * not come to their end, resumable). A blob is wanted by at least one running pull or is removed: once its image is there it
 * would only take the space a second time. What a pull had when network, client or daemon left it stays for an hour.
 * Must never give out a file that was not compared with its digest.
 */
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { type Digest, hexOf } from "./digest.ts";
import { diskError, noSpace } from "./disk-errors.ts";
import { delayFor, isTransientStatus, pause, type RetryDelay } from "./registry/back-off.ts";
import type { BlobResult } from "./registry/blob-messages.ts";
import type { BlobTransfer } from "./registry/blob-transfer.ts";
import { ExchangeError } from "./registry/http-exchange.ts";
import type { BlobAddress } from "./registry/registry-session.ts";
import { type JoinOptions, SharedWork } from "./shared-work.ts";
import { Slots } from "./slots.ts";

/** Less is fetched again faster than anybody notices; so failed pulls of small images leave nothing. */
const resumableBytes = 1 << 20;
const partialLifetimeMs = 60 * 60 * 1000;

export interface Blob {
  digest: Digest;
  /** Bytes. */
  size: number;
}

/** Where a blob can be had. */
export interface BlobSource {
  blobAddress(digest: Digest): BlobAddress;
  reauthorize(
    wwwAuthenticate: string | undefined,
    signal: AbortSignal | undefined,
    used: string | undefined,
  ): Promise<boolean>;
  blobError(status: number, wwwAuthenticate: string | undefined, body: string): BerthError;
}

export type TransferProgress =
  | { phase: "waiting" }
  | { phase: "downloading"; current: number; total: number }
  | { phase: "retrying"; seconds: number }
  | { phase: "verifying" }
  | { phase: "downloaded" };

export interface ContentStoreOptions {
  /** `<data root>/image`. */
  root: string;
  transfer: BlobTransfer;
  maxConcurrentDownloads: number;
  maxDownloadAttempts: number;
  delay: RetryDelay;
}

export class ContentStore {
  readonly #options: ContentStoreOptions;
  readonly #blobs: string;
  readonly #partial: string;
  readonly #downloads = new SharedWork<TransferProgress, string>();
  readonly #slots: Slots;
  readonly #wanted = new Map<Digest, number>();
  /** Blobs that stay for the next pull when nobody wants them any more. */
  readonly #kept = new Set<Digest>();
  /** Files being removed right now: a new download of the same blob waits, or it would find a file that vanishes. */
  readonly #removals = new Map<Digest, Promise<void>>();

  constructor(options: ContentStoreOptions) {
    this.#options = options;
    this.#blobs = join(options.root, "blobs", "sha256");
    this.#partial = join(options.root, "partial");
    this.#slots = new Slots(Math.max(1, options.maxConcurrentDownloads));
  }

  /** How many layers come at once from now on. */
  resize(maxConcurrentDownloads: number): void {
    this.#slots.resize(Math.max(1, maxConcurrentDownloads));
  }

  /** Removes what an earlier process left, except downloads young enough to be gone on with. */
  async start(): Promise<void> {
    await mkdir(this.#blobs, { recursive: true, mode: 0o700 });
    await mkdir(this.#partial, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#blobs)) await this.#putBack(`sha256:${name}`);
    await this.sweep();
  }

  /** Removes partial downloads nobody came back for. Called at start-up and now and then. */
  async sweep(): Promise<void> {
    for (const name of await readdir(this.#partial)) {
      const { mtimeMs } = await stat(join(this.#partial, name)).catch(() => ({ mtimeMs: 0 })); // gone meanwhile
      if (Date.now() - mtimeMs > partialLifetimeMs) await this.#dropPartial(name);
    }
  }

  /** Removes all partial downloads that nobody is at; answers their bytes. */
  async dropPartials(): Promise<number> {
    let bytes = 0;
    for (const name of await readdir(this.#partial)) {
      const { size } = await stat(join(this.#partial, name)).catch(() => ({ size: 0 })); // gone meanwhile
      if (await this.#dropPartial(name)) bytes += size;
    }
    return bytes;
  }

  /** Unless somebody is at it; who comes now waits until it is gone. */
  async #dropPartial(name: string): Promise<boolean> {
    const digest: Digest = `sha256:${name}`;
    if (this.#wanted.has(digest)) return false;
    const removal = rm(join(this.#partial, name), { force: true }).finally(() =>
      this.#removals.delete(digest),
    );
    this.#removals.set(digest, removal);
    await removal;
    return true;
  }

  /**
   * The blob as a file, verified; downloads it unless another pull is at it already. The lease keeps the file until it
   * is disposed. Throws BerthError; on failure nothing but a resumable partial file remains.
   */
  async fetch(
    blob: Blob,
    source: BlobSource,
    options: JoinOptions<TransferProgress>,
  ): Promise<{ path: string } & AsyncDisposable> {
    this.#wanted.set(blob.digest, (this.#wanted.get(blob.digest) ?? 0) + 1);
    try {
      const path = await this.#downloads.join(
        blob.digest,
        (report, signal) => this.#download(blob, source, report, signal),
        options,
      );
      return { path, [Symbol.asyncDispose]: () => this.#release(blob.digest) };
    } catch (error) {
      await this.#release(blob.digest);
      throw error;
    }
  }

  /**
   * Keeps blobs from being removed until `close`: then they go, or, where `error` is a reason to come back, stay for the
   * next pull, which only compares them with their digests again.
   */
  hold(digests: readonly Digest[]): { close(error?: unknown): Promise<void> } {
    const held = [...new Set(digests)];
    for (const digest of held) this.#wanted.set(digest, (this.#wanted.get(digest) ?? 0) + 1);
    return {
      close: async (error) => {
        const keep = error !== undefined && isResumable(error);
        // All let go before any is removed: one that cannot be must not keep the others wanted.
        const released = held.splice(0).map((digest) => {
          // Its unpacking may not have noticed yet that it is cancelled, and be the last to let go.
          if (keep) this.#kept.add(digest);
          else this.#kept.delete(digest);
          return this.#release(digest);
        });
        const results = await Promise.allSettled(released);
        // Who closes because of an error tells that one.
        if (error !== undefined) return;
        for (const result of results) if (result.status === "rejected") throw result.reason;
      },
    };
  }

  /** Has let go when it returns; removes the blob, if nobody else wants it, until it resolves. */
  async #release(digest: Digest): Promise<void> {
    const left = (this.#wanted.get(digest) ?? 1) - 1;
    if (left > 0) {
      this.#wanted.set(digest, left);
      return;
    }
    this.#wanted.delete(digest);
    await this.#downloads.settled(digest);
    if (this.#wanted.has(digest)) return;
    const removal = (
      this.#kept.delete(digest) ? this.#putBack(digest) : rm(this.#target(digest), { force: true })
    ).finally(() => this.#removals.delete(digest));
    this.#removals.set(digest, removal);
    await removal;
  }

  #target(digest: Digest): string {
    return join(this.#blobs, hexOf(digest));
  }

  async #download(
    blob: Blob,
    source: BlobSource,
    report: (progress: TransferProgress) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const target = this.#target(blob.digest);
    await this.#removals.get(blob.digest);
    if (await stat(target).catch(() => undefined)) return target; // kept for another pull that still unpacks it
    if (this.#slots.full) report({ phase: "waiting" });
    using _slot = await this.#slots.take(signal);
    const partial = join(this.#partial, hexOf(blob.digest));
    try {
      await this.#attempts({ blob, source, partial, target, report, signal });
    } catch (error) {
      await this.#tidy(partial, error);
      throw error;
    }
    report({ phase: "downloaded" });
    return target;
  }

  /** A whole blob becomes a partial download that lacks nothing, if it is worth it. */
  async #putBack(digest: Digest): Promise<void> {
    const target = this.#target(digest);
    const { size } = await stat(target).catch(() => ({ size: 0 })); // none was made
    if (size >= resumableBytes) await rename(target, join(this.#partial, hexOf(digest)));
    else await rm(target, { force: true });
  }

  /** Keeps a partial file only if the network, not its content or the disk, was the trouble. */
  async #tidy(partial: string, error: unknown): Promise<void> {
    const { size } = await stat(partial).catch(() => ({ size: 0 })); // none was made
    if (isResumable(error) && size >= resumableBytes) return;
    await rm(partial, { force: true });
  }

  async #attempts(task: {
    blob: Blob;
    source: BlobSource;
    partial: string;
    target: string;
    report: (progress: TransferProgress) => void;
    signal: AbortSignal;
  }): Promise<void> {
    const { blob, source, partial, target, report, signal } = task;
    let challenged = false;
    let resumed = (await stat(partial).catch(() => ({ size: 0 }))).size > 0; // there may be none
    for (let attempt = 1; ; attempt++) {
      report({ phase: "downloading", current: 0, total: blob.size });
      const request = { ...source.blobAddress(blob.digest), partial, target, ...blob };
      const result = await this.#options.transfer.receive(
        request,
        (received, verifying) =>
          report(
            verifying
              ? { phase: "verifying" }
              : { phase: "downloading", current: received, total: blob.size },
          ),
        signal,
      );
      if (result.outcome === "complete") return;
      signal.throwIfAborted();
      if (result.outcome === "digest" && resumed) {
        // What was left from before may be what is wrong: a machine that lost power loses parts of files.
        resumed = false;
        await rm(partial, { force: true });
        attempt--;
        continue;
      }
      if (result.outcome === "refused" && result.status === 401 && !challenged) {
        challenged = true;
        if (await source.reauthorize(result.wwwAuthenticate, signal, request.headers.authorization)) {
          attempt--;
          continue;
        }
      }
      if (result.outcome !== "refused") challenged = false; // a token may run out more than once
      if (!isWorthRepeating(result) || attempt >= this.#options.maxDownloadAttempts) {
        throw transferError(result, blob, source);
      }
      const retryAfter = result.outcome === "refused" ? result.retryAfter : undefined;
      const wait = delayFor(attempt, retryAfter, this.#options.delay);
      report({ phase: "retrying", seconds: Math.ceil(wait / 1000) });
      await pause(wait, signal);
    }
  }
}

/** Nothing was wrong with what came: the network broke, the client or the daemon went. */
function isResumable(error: unknown): boolean {
  return (
    !(error instanceof BerthError) || error.code === "unavailable" || error.cause instanceof ExchangeError
  );
}

function isWorthRepeating(result: BlobResult): boolean {
  if (result.outcome === "refused") return isTransientStatus(result.status);
  // Unlike for a manifest, nobody listening is worth waiting for: this registry did answer a moment ago.
  return result.outcome === "network" && !["ETOOLONG", "ESIZE", "EREDIRECT"].includes(result.code);
}

function transferError(result: BlobResult, blob: Blob, source: BlobSource): BerthError {
  const detail = { operation: "download layer", object: blob.digest };
  switch (result.outcome) {
    case "refused":
      return source.blobError(result.status, result.wwwAuthenticate, result.body);
    case "digest":
      return new BerthError(
        "internal",
        `filesystem layer verification failed for digest ${blob.digest}: the registry sent ${result.actual}`,
        { ...detail, hint: "the layer is damaged in the registry or on the way; push the image again" },
      );
    case "disk":
      return result.code === "ENOSPC" || result.code === "EDQUOT"
        ? noSpace("download layer", blob.digest)
        : diskError(new Error(result.message), "download layer", blob.digest);
    case "network":
      return new BerthError("internal", result.message, {
        ...detail,
        // Says that what came so far is good; a registry that sends too much is not to be believed.
        ...(["ETOOLONG", "ESIZE"].includes(result.code)
          ? {}
          : { cause: new ExchangeError(result.message, result.code) }),
      });
    default:
      return new BerthError("internal", `download of ${blob.digest} ended: ${result.outcome}`, detail);
  }
}
