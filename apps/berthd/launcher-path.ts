/** Where the launcher's binary is: beside the bundle's build directory, from source as well. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";

/** Throws "internal" with the remedy if it was not built. */
export function launcherPath(): string {
  const here = import.meta.dirname;
  const candidates = [join(here, "../build/launcher"), join(here, "../../build/launcher")];
  const found = candidates.find((path) => existsSync(path));
  if (found === undefined) {
    throw new BerthError("internal", "the launcher is not built", {
      operation: "start daemon",
      object: candidates[0] ?? "build/launcher",
      hint: "run npm run setup",
    });
  }
  return found;
}
