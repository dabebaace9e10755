/** Where the launcher's binary lies: beside the bundle's build directory, from source as well. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";

/** Throws "internal" if it was never built. */
export function launcherPath(): string {
  const here = import.meta.dirname;
  const found = [join(here, "../build/launcher"), join(here, "../../build/launcher")].find(existsSync);
  if (found !== undefined) return found;
  throw new BerthError("internal", "the launcher is not built", {
    operation: "find launcher",
    hint: "run npm run setup",
  });
}
