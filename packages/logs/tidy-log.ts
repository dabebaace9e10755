/** Forgetting and compressing what has been passed on, while the shim may be rotating. */
import { readdirSync, rmSync } from "node:fs";
import { compressLog } from "#logs/compress-log.ts";
import { identityAt } from "#logs/compressed-file.ts";
import { type LogFile, logFileNames, withDirectory } from "#logs/log-files.ts";
import type { LogLocation } from "#logs/log-types.ts";

/** Of all files older than `current`, the ones that are too many go, and the others are compressed if they are to be. */
export async function tidyLog(
  log: LogLocation,
  keep: { files: number; compress: boolean },
  current: LogFile,
): Promise<void> {
  const { directory, name } = log;
  const identity = await current.identity();
  const age = await withDirectory(directory, (locked) => {
    const files = logFileNames(readdirSync(directory), name);
    const own = files.find((file) => identityAt(`${directory}/${file.name}`, file.compressed) === identity);
    // Without the lock a name may be another file's in the next moment.
    if (!locked || own === undefined) return undefined;
    for (const file of files) {
      if (file.age <= own.age || file.age < keep.files) continue;
      for (const end of ["", ".gz"]) rmSync(`${directory}/${name}.${file.age}${end}`, { force: true });
    }
    return own.age;
  });
  if (keep.compress && age !== undefined) await compressLog(log, age + 1);
}
