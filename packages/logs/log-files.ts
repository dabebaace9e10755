/**
 * The files of one log in their order, opened while the shim leaves them where they are: it begins a new one only with
 * the lock of the directory, and passes over a turn where that is taken. So nobody here may have it for longer than it
 * takes to open a few files.
 */
import { closeSync, constants, openSync, readdirSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { tryLock } from "#kernel/file-syscalls.ts";
import { decompress, identityOf, originalIdentity } from "#logs/compressed-file.ts";
import type { LogLocation } from "#logs/log-types.ts";

/** How long to try for the lock: whoever has it is about to give it back, ms. */
const PATIENCE = 500;

/** One file of a log, oldest first in a list of them. */
export interface LogFileName {
  name: string;
  /** 0: the one being written. */
  age: number;
  compressed: boolean;
}

/** Names of a log's files, the oldest first. One that is there plain and compressed is named once, plain. */
export function logFileNames(names: readonly string[], name: string): LogFileName[] {
  const found = new Map<number, LogFileName>();
  for (const candidate of names) {
    if (!candidate.startsWith(name)) continue;
    const match = /^(?:\.([1-9]\d{0,8})(\.gz)?)?$/.exec(candidate.slice(name.length));
    if (match === null) continue;
    const file = { name: candidate, age: Number(match[1] ?? 0), compressed: match[2] !== undefined };
    if (!file.compressed || !found.has(file.age)) found.set(file.age, file);
  }
  return [...found.values()].sort((a, b) => b.age - a.age);
}

/** Runs `work` with the lock of a directory, if that can be had; at once, and not asynchronous. Throws as `open` does. */
export async function withDirectory<T>(directory: string, work: (locked: boolean) => T): Promise<T> {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const limit = Date.now() + PATIENCE;
    while (!tryLock(fd)) {
      if (Date.now() > limit) return work(false);
      await sleep(1);
    }
    return work(true);
  } finally {
    closeSync(fd);
  }
}

/** A file that is open, with what tells it from its neighbours. */
export class LogFile implements AsyncDisposable {
  readonly age: number;
  readonly compressed: boolean;
  readonly #directory: string;
  #handle: FileHandle;
  #readable: boolean;
  #identity: string | undefined;

  constructor(handle: FileHandle, file: LogFileName, directory: string) {
    this.#handle = handle;
    this.#directory = directory;
    this.age = file.age;
    this.compressed = file.compressed;
    this.#readable = !file.compressed;
  }

  /** What it is known by, also once it is compressed; undefined if that is not known. */
  async identity(): Promise<string | undefined> {
    if (this.#identity === undefined && !(this.compressed && this.#readable)) {
      this.#identity = this.compressed
        ? await originalIdentity(this.#handle)
        : identityOf(await this.#handle.stat({ bigint: true }));
    }
    return this.#identity;
  }

  /** To be read at any offset; a compressed one is unpacked at the first call. */
  async content(): Promise<FileHandle> {
    if (!this.#readable) {
      await this.identity();
      const packed = this.#handle;
      this.#handle = await decompress(packed, this.#directory);
      this.#readable = true;
      await packed.close();
    }
    return this.#handle;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }
}

/** All files of a log, the oldest first; none if there is no log. The caller closes them. Throws as `open` does. */
export async function openLogFiles({ directory, name }: LogLocation): Promise<LogFile[]> {
  let opened: OpenedFile[];
  try {
    opened = await withDirectory(directory, () => openAll(directory, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
  const handles = await Promise.allSettled(opened.map(({ fd }) => adopt(fd)));
  const failed = handles.find((one) => one.status === "rejected");
  if (failed !== undefined) {
    for (const one of handles) if (one.status === "fulfilled") await one.value.close();
    throw failed.reason;
  }
  return handles.flatMap((one, index) => {
    const file = opened[index]?.file;
    return one.status === "fulfilled" && file !== undefined ? [new LogFile(one.value, file, directory)] : [];
  });
}

interface OpenedFile {
  file: LogFileName;
  fd: number;
}

/** All of them, or none. */
function openAll(directory: string, name: string): OpenedFile[] {
  const opened: OpenedFile[] = [];
  try {
    for (const file of logFileNames(readdirSync(directory), name)) {
      opened.push({ file, fd: openSync(`${directory}/${file.name}`, "r") });
    }
    return opened;
  } catch (error) {
    for (const { fd } of opened) closeSync(fd);
    throw error;
  }
}

/** A FileHandle for a descriptor: opened anew through /proc, which finds the file wherever it has gone meanwhile. */
async function adopt(fd: number): Promise<FileHandle> {
  try {
    return await open(`/proc/self/fd/${fd}`, "r");
  } finally {
    closeSync(fd);
  }
}
