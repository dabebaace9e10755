/**
 * Reading a container's json-file log while its shim writes it: from the end or a time, filtered, framed, followed.
 *
 * Holds one block in memory. A line that is only half written is left until its end is there; a line that is no entry is
 * passed over. Yields to the event loop between blocks.
 */
import { watch } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";
import { formatEntry } from "#logs/format-entry.ts";
import { parseEntry, timeOf } from "#logs/log-entry.ts";
import { sinceOffset, tailOffset } from "#logs/log-position.ts";
import type { LogReadOptions, LogSource } from "#logs/log-types.ts";

const BLOCK = 64 * 1024;
const NEWLINE = 0x0a;
/** A missed notification costs at most this long, milliseconds. */
const LONGEST_SLEEP = 200;
/** No line written by a shim comes near this; a longer one is garbage and passed over. */
const MAX_LINE = 1024 * 1024;

/** The log as the client wants it. Ends when all is read and (following) the container has ended, or on `signal`. */
export function readLog(source: LogSource, options: LogReadOptions, signal: AbortSignal): Readable {
  return Readable.from(entries(source, options, signal), { objectMode: false, highWaterMark: BLOCK });
}

async function* entries(
  source: LogSource,
  options: LogReadOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const waiter = new ChangeWaiter(source, signal);
  let file: FileHandle | undefined;
  try {
    file = await openWhenThere(source.path, options.follow, waiter);
    if (file === undefined) return;
    const { size } = await file.stat();
    let offset = await firstOffset(file, size, options);
    // Without following, what is written from now on is not part of the answer.
    const limit = options.follow ? Number.POSITIVE_INFINITY : size;
    const block = Buffer.alloc(BLOCK);
    let rest: Buffer = Buffer.alloc(0);
    while (!signal.aborted) {
      const ended = waiter.ended;
      const { bytesRead } = await file.read(block, 0, Math.min(BLOCK, limit - offset), offset);
      offset += bytesRead;
      if (bytesRead > 0) {
        const { output, left, done } = formatLines(
          Buffer.concat([rest, block.subarray(0, bytesRead)]),
          options,
        );
        rest = left;
        if (output.length > 0) yield output;
        if (done) return;
      } else if (!options.follow || ended) {
        return;
      } else if (options.until !== undefined && nowNanoseconds() > options.until) {
        return;
      } else {
        await waiter.wait();
      }
    }
  } finally {
    waiter.close();
    await file?.close();
  }
}

async function firstOffset(file: FileHandle, size: number, options: LogReadOptions): Promise<number> {
  if (options.tail !== undefined) return tailOffset(file, size, options.tail);
  return options.since === undefined ? 0 : sinceOffset(file, size, options.since);
}

/** All complete lines of `bytes`, formatted; `done`: a line was younger than `until`. */
function formatLines(
  bytes: Buffer,
  options: LogReadOptions,
): { output: Buffer; left: Buffer; done: boolean } {
  const parts: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
    const entry = parseEntry(bytes.toString("utf8", start, end));
    start = end + 1;
    if (entry === undefined) continue;
    if (options.since !== undefined || options.until !== undefined) {
      const time = timeOf(entry.time) ?? 0n;
      if (options.since !== undefined && time < options.since) continue;
      if (options.until !== undefined && time > options.until) {
        return { output: Buffer.concat(parts), left: Buffer.alloc(0), done: true };
      }
    }
    const formatted = formatEntry(entry, options);
    if (formatted !== undefined) parts.push(formatted);
  }
  const left = bytes.length - start > MAX_LINE ? Buffer.alloc(0) : Buffer.from(bytes.subarray(start));
  return { output: Buffer.concat(parts), left, done: false };
}

/** A container that was never started has no log yet; a follower waits for it. */
async function openWhenThere(
  path: string,
  follow: boolean,
  waiter: ChangeWaiter,
): Promise<FileHandle | undefined> {
  for (;;) {
    try {
      return await open(path, "r");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
      if (!follow || waiter.ended || waiter.aborted) return undefined;
      await waiter.wait();
    }
  }
}

/** Sleeps until the file may have grown, the container has ended, or the reader is gone. */
class ChangeWaiter {
  ended = false;
  readonly #signal: AbortSignal;
  readonly #path: string;
  #watcher: ReturnType<typeof watch> | undefined;
  #changed = false;
  #wake: (() => void) | undefined;

  constructor(source: LogSource, signal: AbortSignal) {
    this.#path = source.path;
    this.#signal = signal;
    signal.addEventListener("abort", this.#onChange);
    source.ended.then(() => {
      this.ended = true;
      this.#onChange();
    }, this.#onChange);
  }

  get aborted(): boolean {
    return this.#signal.aborted;
  }

  async wait(): Promise<void> {
    this.#watch();
    // Something may have happened since the caller last looked.
    if (!this.#changed && !this.ended && !this.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LONGEST_SLEEP);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#wake = undefined;
    this.#changed = false;
  }

  close(): void {
    this.#watcher?.close();
    this.#signal.removeEventListener("abort", this.#onChange);
  }

  #watch(): void {
    if (this.#watcher !== undefined) return;
    try {
      this.#watcher = watch(this.#path, this.#onChange);
      this.#watcher.on("error", () => this.#watcher?.close());
    } catch {
      // Not there yet, or no watches left: the longest sleep is how often it is looked at then.
    }
  }

  readonly #onChange = (): void => {
    this.#changed = true;
    this.#wake?.();
  };
}

function nowNanoseconds(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}
