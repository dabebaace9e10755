/** Is something mounted on this path? */
import { statSync } from "node:fs";
import { dirname } from "node:path";

/** Compares device numbers with the directory above; a bind of the same file system does not show. */
export function isMountPoint(path: string): boolean {
  return statSync(path).dev !== statSync(dirname(path)).dev;
}
