/** `berth-oci spec`: a config.json that runs a shell, to be changed as needed. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { readHostFacts } from "#kernel/host-facts.ts";
import { defaultSpec } from "#runtime/default-spec.ts";

/** Throws "conflict" if the bundle has one already. */
export function writeSpec(bundle: string): void {
  const { architecture, kernelRelease } = readHostFacts();
  const spec = defaultSpec({ architecture, kernelRelease });
  spec.process.terminal = true;
  spec.process.env?.push("TERM=xterm");
  spec.hostname = "berth";
  // As other runtimes' templates: the filter is the caller's choice.
  delete spec.linux.seccomp;
  const path = join(bundle, "config.json");
  try {
    writeFileSync(path, `${JSON.stringify(spec, null, 2)}\n`, { flag: "wx", mode: 0o644 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    throw new BerthError("conflict", `file ${path} exists. Remove it first`, {
      operation: "write spec",
      cause,
    });
  }
}
