/** Names inside an image archive. */
import { posix } from "node:path";
import { BerthError } from "#errors/errors.ts";

/** "./a//b/" → "a/b". Throws "invalid" for names that leave the archive. */
export function insideName(name: string): string {
  const clean = posix.normalize(name).replace(/^\/+/, "").replace(/\/+$/, "");
  if (clean !== ".." && !clean.startsWith("../")) return clean;
  throw new BerthError("invalid", `invalid archive: ${JSON.stringify(name)} leads out of the archive`, {
    operation: "load image",
    object: name,
  });
}
