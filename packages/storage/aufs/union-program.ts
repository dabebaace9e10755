/** Where the program that serves unions is: beside the daemon's bundle, or its source where the daemon runs from that. */
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Command and arguments that start it. */
export function unionProgram(): string[] {
  const here = import.meta.dirname;
  const bundle = join(here, "berth-union.cjs");
  const source = join(here, "../../../apps/berth-union/main.ts");
  const program = existsSync(bundle) ? bundle : source;
  return [process.execPath, "--disable-warning=ExperimentalWarning", program];
}
