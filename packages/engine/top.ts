/** `docker top`: the host's ps, reduced to the processes of one container. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Container } from "#engine/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { filterProcesses, type ProcessTable } from "#engine/process-table.ts";
import { BerthError } from "#errors/errors.ts";
import { containerProcesses } from "#runtime/cgroups/processes.ts";

const run = promisify(execFile);

export async function listProcesses(
  context: EngineContext,
  container: Container,
  psArgs: string,
): Promise<ProcessTable> {
  if (!container.isRunning) {
    throw new BerthError("conflict", `container ${container.id} is not running`, {
      operation: "top",
      object: container.record.name,
    });
  }
  const pids = new Set(containerProcesses(context.cgroups, container.record).map(String));
  const args = psArgs.trim() === "" ? ["-ef"] : psArgs.trim().split(/\s+/);
  try {
    const { stdout } = await run("ps", args, { maxBuffer: 16 * 1024 * 1024 });
    return filterProcesses(stdout, pids);
  } catch (cause) {
    if (cause instanceof BerthError) throw cause;
    throw new BerthError(
      "internal",
      `error running ps: ${cause instanceof Error ? cause.message.trim() : cause}`,
      {
        operation: "top",
        object: container.record.name,
        cause,
      },
    );
  }
}
