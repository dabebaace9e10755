/**
 * Compressing the files a shim has rotated away, while it may be rotating on. A file is compressed beside its place and
 * takes it under the directory's lock, wherever the original has got to by then.
 *
 * May be cut short anywhere: what is half done is begun again.
 */
import { readdirSync, renameSync, statSync, unlinkSync } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { compress, identityOf } from "#logs/compressed-file.ts";
import { type LogFileName, logFileNames, withDirectory } from "#logs/log-files.ts";
import type { LogLocation } from "#logs/log-types.ts";

const MODE = 0o640;

/** Compresses every rotated file from `youngest` on, the oldest first. One at a time for each log. */
export async function compressLog(log: LogLocation, youngest = 1): Promise<void> {
  const temporary = `${log.directory}/${log.name}.compressing`;
  const tried = new Set<string>();
  try {
    for (;;) {
      const next = await oldestPlain(log, youngest, tried);
      if (next === undefined) return;
      await using file = next.file;
      tried.add(next.identity);
      const target = await open(temporary, "w", MODE);
      try {
        await compress(file, target);
        await target.sync();
      } finally {
        await target.close();
      }
      await takePlace(log, temporary, next.identity);
    }
  } catch (error) {
    // The container may be removed at any time.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  } finally {
    await rm(temporary, { force: true });
  }
}

async function oldestPlain(
  { directory, name }: LogLocation,
  youngest: number,
  tried: ReadonlySet<string>,
): Promise<{ file: FileHandle; identity: string } | undefined> {
  // Without the lock: what is opened is what is compressed, whatever it is called by then.
  const files = logFileNames(readdirSync(directory), name);
  if (!hasCurrent(files)) return undefined;
  for (const { name: candidate, age, compressed } of files) {
    if (compressed || age < youngest) continue;
    const file = await open(`${directory}/${candidate}`, "r").catch(() => undefined);
    if (file === undefined) continue;
    const identity = identityOf(await file.stat({ bigint: true }));
    // In between it may have become the one that is being written.
    const current = statSync(`${directory}/${name}`, { bigint: true, throwIfNoEntry: false });
    const isCurrent = current !== undefined && identityOf(current) === identity;
    if (!tried.has(identity) && !isCurrent) return { file, identity };
    await file.close();
  }
  return undefined;
}

/** Else the shim could put no new file in the place of the one it has rotated away, and writes on in that. */
function hasCurrent(files: readonly LogFileName[]): boolean {
  return files.some(({ age }) => age === 0);
}

async function takePlace(
  { directory, name }: LogLocation,
  temporary: string,
  identity: string,
): Promise<void> {
  await withDirectory(directory, (locked) => {
    // Another time: without the lock its name may change under our hands.
    const files = logFileNames(readdirSync(directory), name);
    if (!locked || !hasCurrent(files)) return;
    for (const { name: candidate, age, compressed } of files) {
      if (compressed || age === 0) continue;
      const path = `${directory}/${candidate}`;
      const found = statSync(path, { bigint: true, throwIfNoEntry: false });
      if (found === undefined || identityOf(found) !== identity) continue;
      renameSync(temporary, `${path}.gz`);
      unlinkSync(path);
      return;
    }
  });
}
