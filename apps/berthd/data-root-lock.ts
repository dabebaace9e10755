/**
 * One daemon at a time on a data root: two would take each other's containers for ended ones and each other's layers for
 * left ones. The lock is the kernel's and goes with the process, however it ends; the file stays.
 */
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import type { FileDescriptor } from "#kernel/fd.ts";
import { tryLockFile } from "#kernel/lock-file.ts";

/** Held until it is disposed of. Throws "conflict" where another daemon has it; the directory exists. */
export function lockDataRoot(dataRoot: string): FileDescriptor {
  const path = join(dataRoot, "lock");
  const lock = tryLockFile(path, 0o600);
  if (lock === undefined) {
    const pid = readFileSync(path, "utf8").trim();
    throw new BerthError("conflict", `the data root ${dataRoot} is used by another daemon, process ${pid}`, {
      operation: "start daemon",
      object: dataRoot,
      hint: "end that daemon, or give this one its own --data-root and --exec-root",
    });
  }
  try {
    // Always as long, over what the last daemon wrote: a pid has seven digits at most.
    writeSync(lock.number, `${String(process.pid).padStart(7)}\n`, 0);
  } catch {
    // A full disk: the number is for people only.
  }
  return lock;
}
