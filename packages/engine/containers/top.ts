/** `docker top`: the host's ps, reduced to the processes of one container. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Container } from "#engine/containers/container.ts";
import { checkPsArguments, filterProcesses, type ProcessTable } from "#engine/containers/process-table.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import { BerthError } from "#errors/errors.ts";
import { containerProcesses } from "#runtime/cgroups/processes.ts";

const run = promisify(execFile);
/** ps looks at every process of the host; one that takes longer than this hangs, ms. */
const PATIENCE_MS = 30_000;

export async function listProcesses(
  context: EngineContext,
  container: Container,
  psArgs: string,
): Promise<ProcessTable> {
  const { state, id } = container.record;
  const detail = { operation: "top", object: container.record.name };
  const args = psArgs.trim() === "" ? "-ef" : psArgs.trim();
  checkPsArguments(args);
  if (!state.Running) throw new BerthError("conflict", `container ${id} is not running`, detail);
  if (state.Restarting) {
    const text = `Container ${id} is restarting, wait until the container is running`;
    throw new BerthError("conflict", text, detail);
  }
  const pids = containerProcesses(context.cgroups, container.record).map(String);
  const table = filterProcesses(await ps(args, pids, detail), new Set(pids));
  publishContainerEvent(context, container, "top");
  return table;
}

/** Asked for our processes alone first; with some arguments ps wants all or nothing. */
async function ps(
  args: string,
  pids: readonly string[],
  detail: { operation: string; object: string },
): Promise<string> {
  const words = args.split(/\s+/);
  const options = { maxBuffer: 16 * 1024 * 1024, timeout: PATIENCE_MS };
  try {
    return (await run("ps", [...words, "-q", pids.join(",")], options)).stdout;
  } catch {
    // It says why below.
  }
  try {
    return (await run("ps", words, options)).stdout;
  } catch (cause) {
    const said = cause instanceof Error && "stderr" in cause ? String(cause.stderr).trim() : "";
    const [first = ""] = said.split("\n");
    throw new BerthError("internal", `ps: ${first || String(cause)}`, { ...detail, cause });
  }
}
