/**
 * The pid file: one daemon at a time has its lock, which goes with its process. What it says is for people and scripts: by
 * itself a number tells nothing, it may be another process's by now, even another daemon's.
 */
import { ftruncateSync, mkdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { FileDescriptor } from "#kernel/fd.ts";
import { tryLockFile } from "#kernel/lock-file.ts";

export class PidFile {
  readonly #path: string;
  readonly #lock: FileDescriptor;

  /** Throws "conflict" beside another daemon with the same file; a stale one is replaced. */
  constructor(path: string) {
    mkdirSync(dirname(path), { recursive: true });
    const lock = tryLockFile(path, 0o644);
    if (lock === undefined) {
      throw new BerthError(
        "conflict",
        `process with PID ${readFileSync(path, "utf8").trim()} is still running`,
        {
          operation: "start daemon",
          object: path,
          hint: "end that daemon, or give this one its own --pidfile, --data-root and --exec-root",
        },
      );
    }
    this.#path = path;
    this.#lock = lock;
    ftruncateSync(lock.number);
    writeSync(lock.number, String(process.pid), 0);
  }

  remove(): void {
    rmSync(this.#path, { force: true });
    this.#lock.close();
  }
}
