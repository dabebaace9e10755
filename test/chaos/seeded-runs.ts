/** `npm run chaos` and `npm run fuzz` as tests start them: for a short time, with a seed. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { missingPrograms } from "../../chaos/faults.ts";

const missing = missingPrograms();
/** For a test's `skip`: what the machine lacks, or false. */
export const lacking = missing.length === 0 ? false : `needs ${missing.join(", ")}`;

/** `program`: "main.ts" or "fuzz/main.ts" of chaos/. The exit code, and all that was said. */
export function seededRun(
  program: string,
  options: Record<string, string | number>,
): Promise<{ code: number | null; output: string }> {
  const path = join(import.meta.dirname, "../../chaos", program);
  const words = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", path, ...words], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (chunk) => {
        output += chunk;
      });
    }
    child.on("close", (code) => resolve({ code, output }));
  });
}
