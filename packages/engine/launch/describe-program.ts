/** The syscall program of a container's last start, for people (`berth debug program`). */

import type { Container } from "#engine/containers/container.ts";
import { BerthError } from "#errors/errors.ts";
import { compileContainer } from "#runtime/compile-container.ts";

/** Compiled anew from what the start was given: compiling is pure, and a listing is asked for rarely. */
export function describeProgram(container: Container): string {
  if (container.lastLaunch === undefined) {
    throw new BerthError("not-found", `no program is known for container ${container.record.name}`, {
      operation: "describe program",
      object: container.record.name,
      hint: "it has not been started since the daemon was",
    });
  }
  return compileContainer(container.lastLaunch).program.listing();
}
