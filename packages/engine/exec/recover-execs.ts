/**
 * Execs that a former daemon has started: they go on, but nobody can ask for them any more. Those of health checks are
 * killed, and terminals that nobody was ever attached to hang up; the others' directories go when they end. Whose input
 * would have come over an attach that did not come has seen the end of it: the shim closes it by itself.
 */
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { controlSocket, exitFile } from "#engine/containers/container-paths.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { PROBE_MARK, UNSEEN_MARK } from "#engine/exec/run-exec.ts";

const SIGHUP = 1;
const SIGKILL = 9;

/** Call once, before an exec is made. Resolves when they are known, not when they have ended. */
export async function recoverExecs(context: EngineContext): Promise<void> {
  const execs = join(context.config.execRoot, "execs");
  for (const name of await readdir(execs).catch(() => [])) {
    const directory = join(execs, name);
    const shim = await context.launcher.reconnect(controlSocket(directory), exitFile(directory));
    if (existsSync(join(directory, PROBE_MARK))) shim.signal(SIGKILL);
    else if (existsSync(join(directory, UNSEEN_MARK))) shim.signal(SIGHUP);
    // Not among the background work: an exec may go on for ever.
    shim.exited
      .then(() => rm(directory, { recursive: true, force: true }))
      .catch((error: unknown) => context.logger.warn("clean-up after an exec failed", { directory, error }));
  }
}
