/**
 * Reading a container's log while its shim writes it, across rotated and compressed files: from the end or a time,
 * filtered, framed, followed.
 *
 * Holds one block in memory. A file that is rotated away while it is read is read to its end. An entry that is only half
 * written is left until its end is there. Yields to the event loop between blocks.
 */
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { ChangeWaiter } from "#logs/change-waiter.ts";
import { identityOf } from "#logs/compressed-file.ts";
import { formatEntry } from "#logs/format-entry.ts";
import { nanosecondsOf } from "#logs/log-entry.ts";
import { type LogFile, openLogFiles } from "#logs/log-files.ts";
import { LOG_FORMS } from "#logs/log-form.ts";
import type { LogLocation, LogReadOptions, LogSource } from "#logs/log-types.ts";

const BLOCK = 64 * 1024;

/** The log as the client wants it. Ends when all is read and (following) the container has ended, or on `signal`. */
export function readLog(source: LogSource, options: LogReadOptions, signal: AbortSignal): Readable {
  return Readable.from(entries(source, options, signal), { objectMode: false, highWaterMark: BLOCK });
}

async function* entries(
  source: LogSource,
  options: LogReadOptions,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  using waiter = new ChangeWaiter(source.directory, source.ended, signal);
  const files = await openWhenThere(source, options.follow, waiter, signal);
  try {
    const start = await startOf(files, source, options);
    while (files.length > start.index + 1) {
      const [file] = files.splice(start.index, 1);
      if (file === undefined) break;
      await using closing = file;
      const reading = new FileReader(await closing.content(), source, options);
      reading.offset = start.offset;
      start.offset = 0;
      yield* reading.toEnd(Number.POSITIVE_INFINITY, signal);
      if (reading.done || signal.aborted) return;
    }
    let current = files.pop();
    while (current !== undefined) {
      await using file = current;
      const handle = await file.content();
      const reading = new FileReader(handle, source, options);
      reading.offset = start.offset;
      start.offset = 0;
      // Without following, what is written from now on is not part of the answer.
      const limit = options.follow ? Number.POSITIVE_INFINITY : (await handle.stat()).size;
      current = undefined;
      for (;;) {
        const ended = waiter.ended;
        yield* reading.toEnd(limit, signal);
        if (reading.done || signal.aborted || !options.follow) return;
        if (await isRotated(file, source)) {
          // Nothing is written to it any more: now to its very end, and on.
          yield* reading.toEnd(limit, signal);
          current = await successor(file, source);
          if (current !== undefined) break;
        }
        if (ended) return;
        if (options.until !== undefined && BigInt(Date.now()) * 1_000_000n > options.until) return;
        await waiter.wait();
      }
    }
  } finally {
    for (const file of files) await file[Symbol.asyncDispose]();
  }
}

/** Which file of the list to begin with, and where in it. */
async function startOf(
  files: readonly LogFile[],
  source: LogLocation,
  options: LogReadOptions,
): Promise<{ index: number; offset: number }> {
  const form = LOG_FORMS[source.form];
  const last = files.length - 1;
  if (options.tail !== undefined) {
    let wanted = options.tail;
    for (let index = last; index >= 0; index--) {
      const handle = await (files[index] as LogFile).content();
      const { size } = await handle.stat();
      const { offset, count } = await form.tail(handle, size, wanted);
      wanted -= count;
      if (wanted <= 0 || index === 0) return { index, offset };
    }
  }
  if (options.since !== undefined) {
    for (let index = last; index >= 0; index--) {
      const handle = await (files[index] as LogFile).content();
      const first = await firstTime(handle, source);
      if (index > 0 && (first === undefined || first >= options.since)) continue;
      return { index, offset: await form.since(handle, (await handle.stat()).size, options.since) };
    }
  }
  return { index: 0, offset: 0 };
}

type Handle = Awaited<ReturnType<LogFile["content"]>>;

async function firstTime(handle: Handle, source: LogLocation): Promise<bigint | undefined> {
  const block = Buffer.alloc(4 * BLOCK);
  const { bytesRead } = await handle.read(block, 0, block.length, 0);
  let time: bigint | undefined;
  LOG_FORMS[source.form].split(block.subarray(0, bytesRead), (entry) => {
    time = nanosecondsOf(entry.time);
    return false;
  });
  return time;
}

/** One file from an offset to its end, as often as asked. */
class FileReader {
  offset = 0;
  /** No later entry can be wanted. */
  done = false;
  readonly #handle: Handle;
  readonly #options: LogReadOptions;
  readonly #split: (bytes: Buffer, take: Parameters<(typeof LOG_FORMS)["local"]["split"]>[1]) => number;
  readonly #block = Buffer.allocUnsafe(BLOCK);
  #rest: Buffer = Buffer.alloc(0);

  constructor(handle: Handle, { form }: LogLocation, options: LogReadOptions) {
    this.#handle = handle;
    this.#options = options;
    this.#split = LOG_FORMS[form].split;
  }

  async *toEnd(limit: number, signal: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
    while (!signal.aborted) {
      const { bytesRead } = await this.#handle.read(
        this.#block,
        0,
        Math.min(BLOCK, limit - this.offset),
        this.offset,
      );
      if (bytesRead === 0) return;
      this.offset += bytesRead;
      const output = this.#take(this.#block.subarray(0, bytesRead));
      if (output.length > 0) yield output;
      if (this.done) return;
    }
  }

  #take(fresh: Buffer): Buffer {
    const { since, until } = this.#options;
    const bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, fresh]) : fresh;
    const parts: Buffer[] = [];
    const used = this.#split(bytes, (entry) => {
      if (since !== undefined || until !== undefined) {
        const time = nanosecondsOf(entry.time);
        if (since !== undefined && time < since) return true;
        if (until !== undefined && time > until) {
          this.done = true;
          return false;
        }
      }
      const formatted = formatEntry(entry, this.#options);
      if (formatted !== undefined) parts.push(formatted);
      return true;
    });
    this.#rest = Buffer.from(bytes.subarray(used));
    return Buffer.concat(parts);
  }
}

/** A container that was never started has no log yet; a follower waits for it. */
async function openWhenThere(
  source: LogLocation,
  follow: boolean,
  waiter: ChangeWaiter,
  signal: AbortSignal,
): Promise<LogFile[]> {
  for (;;) {
    const files = await openLogFiles(source);
    if (files.length > 0 || !follow || waiter.ended || signal.aborted) return files;
    await waiter.wait();
  }
}

/** Has a newer file taken its place? */
async function isRotated(file: LogFile, { directory, name }: LogLocation): Promise<boolean> {
  try {
    const current = await stat(`${directory}/${name}`, { bigint: true });
    return identityOf(current) !== (await file.identity());
  } catch {
    return false; // It is just being replaced, or all of it is gone.
  }
}

/** The file that was begun after this one, open; if this one is gone, all that is left is newer. */
export async function successor(file: LogFile, source: LogLocation): Promise<LogFile | undefined> {
  const identity = await file.identity();
  const files = await openLogFiles(source);
  const identities = await Promise.all(files.map((one) => one.identity()));
  // Nameless ones were compressed by others: never the one that was being read.
  const chosen = files[(identity === undefined ? -1 : identities.lastIndexOf(identity)) + 1];
  for (const one of files) if (one !== chosen) await one[Symbol.asyncDispose]();
  return chosen;
}
