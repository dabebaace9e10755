/** `run`: create and start in one; in the foreground also the wait for the end, and the removal of all of it. */

import { join } from "node:path";
import { type CreateOptions, createContainer } from "#oci/create.ts";
import { deleteContainer } from "#oci/delete.ts";
import { exitCodeOf, forwardSignals, joinTerminal } from "#oci/foreground.ts";
import { startContainer } from "#oci/start.ts";
import type { StateDirectory } from "#oci/state-directory.ts";
import { SOCKET_NAME } from "#runtime/compile/shim-frame.ts";

export interface RunOptions extends CreateOptions {
  /** Leave a container that has ended there, to be deleted by its user. */
  keep: boolean;
}

/** Answers the container's exit code; 0 at once if it goes on by itself. */
export async function runContainer(states: StateDirectory, options: RunOptions): Promise<number> {
  const { container, run } = await createContainer(states, options);
  const { foreground } = options;
  const relayed = foreground && (container.spec.process?.terminal ?? false);
  const ended = foreground ? exitCodeOf(run, relayed) : undefined;
  const joined = relayed ? joinTerminal(run, join(states.path(container.id), SOCKET_NAME)) : undefined;
  joined?.catch(() => undefined);
  try {
    await startContainer(states, container);
  } catch (error) {
    await deleteContainer(states, container.id, { force: true });
    throw error;
  }
  if (ended === undefined) {
    run.shim.close();
    return 0;
  }
  const stop = forwardSignals(container.pid);
  const exitCode = await ended;
  await joined;
  stop();
  run.shim.close();
  if (!options.keep) await deleteContainer(states, container.id, { force: true });
  return exitCode;
}
