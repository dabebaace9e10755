/** `start`: lets a created container go on to its own program, and waits until that runs or has failed to. */
import { unlinkSync } from "node:fs";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { ociState, statusOf } from "#oci/container-status.ts";
import { runHooks } from "#oci/hooks.ts";
import type { StateDirectory, StoredContainer } from "#oci/state-directory.ts";
import { warn } from "#oci/warnings.ts";
import { errnoName, errnoText } from "#program/errno.ts";
import { FrameParser } from "#program/frames.ts";
import { LaunchError } from "#program/launch-error.ts";
import { connectUnix } from "#program/unix-connect.ts";
import { START_SOCKET } from "#runtime/compile/bundle-frame.ts";
import { explainRuntimeFailure } from "#runtime/explain.ts";

/** Throws "conflict" for a container that isn't just created, "start-failed" when its program cannot run. */
export async function startContainer(states: StateDirectory, container: StoredContainer): Promise<void> {
  const status = statusOf(states, container);
  const refuse = (message: string) =>
    new BerthError("conflict", message, { operation: "start container", object: container.id });
  if (status === "stopped") throw refuse("cannot start a container that has stopped");
  if (status !== "created") throw refuse("cannot start an already running container");
  const socket = join(states.path(container.id), START_SOCKET);
  await release(socket, container);
  unlinkSync(socket);
  // The specification has a failure here logged and nothing else.
  await runHooks(container.spec, "poststart", ociState(container, "running")).catch((error: Error) =>
    warn(error.message),
  );
}

/** Connects; the end of the connection is execve's success. */
function release(path: string, container: StoredContainer): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connectUnix(path);
  const parser = new FrameParser();
  socket.on("data", (chunk: Buffer) => {
    for (const frame of parser.push(chunk)) {
      if (frame.kind === "failed") reject(failure(container, frame.instruction, frame.errno));
    }
  });
  socket.on("error", (cause) =>
    reject(
      new BerthError("conflict", `the container no longer waits for its start: ${cause.message}`, {
        operation: "start container",
        object: container.id,
        cause,
      }),
    ),
  );
  socket.on("close", () => resolve());
  return promise;
}

function failure(container: StoredContainer, instruction: number, errno: number): unknown {
  const { labels, execveInstructions } = container;
  const program = {
    labels,
    explain: (index: number, error: number) => `${labels[index]}: ${errnoName(error)} (${errnoText(error)})`,
  };
  const cause = new LaunchError(program, instruction, errno);
  return explainRuntimeFailure(
    { program, execveInstructions },
    cause,
    container.spec.process?.args?.[0] ?? "",
  );
}
