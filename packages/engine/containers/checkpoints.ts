/**
 * Checkpoints of containers (experimental): directories of criu's images, `<container>/checkpoints/<name>` or below one
 * that the client names. They are listed and removed here; making one, and starting from one, is refused before
 * anything is touched: a process that criu has restored is no child of a shim, and nobody would keep its streams.
 */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Container } from "#engine/containers/container.ts";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { BerthError } from "#errors/errors.ts";

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

export interface CheckpointRequest {
  CheckpointID: string;
  CheckpointDir?: string;
  Exit?: boolean;
}

export async function listCheckpoints(
  context: EngineContext,
  container: Container,
  directory: string,
): Promise<{ Name: string }[]> {
  const root = checkpointRoot(context, container, directory);
  await mkdir(root, { recursive: true, mode: 0o700 });
  const entries = await readdir(root, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => ({ Name: name }));
}

export async function removeCheckpoint(
  context: EngineContext,
  container: Container,
  { name, directory }: { name: string; directory: string },
): Promise<void> {
  checkName(name);
  const known = await listCheckpoints(context, container, directory);
  if (!known.some(({ Name }) => Name === name)) {
    const text = `checkpoint ${name} does not exist for container ${container.record.name}`;
    throw new BerthError("not-found", text, { operation: "remove checkpoint", object: name });
  }
  await rm(join(checkpointRoot(context, container, directory), name), { recursive: true });
}

/** Says what is wrong with the request first, then that it cannot be done. */
export function refuseCheckpoint(container: Container, request: CheckpointRequest): BerthError {
  const { record } = container;
  const detail = { operation: "create checkpoint", object: record.name };
  checkName(request.CheckpointID);
  if (!record.state.Running) {
    return new BerthError("conflict", `container ${record.id} is not running`, detail);
  }
  if (record.config.Tty) {
    return new BerthError("invalid", "checkpoint not supported on containers with tty", detail);
  }
  return cannot(`Cannot checkpoint container ${record.name}`, detail);
}

export function refuseRestore(container: Container): BerthError {
  const detail = { operation: "start from checkpoint", object: container.record.name };
  return cannot(`Cannot start container ${container.record.name} from a checkpoint`, detail);
}

function cannot(what: string, detail: { operation: string; object: string }): BerthError {
  return new BerthError("not-implemented", `${what}: the daemon has no checkpoints yet`, {
    ...detail,
    hint: "berth-oci checkpoint and berth-oci restore work on bundles, with criu",
  });
}

function checkpointRoot(context: EngineContext, { id }: Container, directory: string): string {
  return directory === ""
    ? join(containerDirectory(context.config, id), "checkpoints")
    : resolve("/", directory);
}

function checkName(name: string): void {
  if (NAME.test(name)) return;
  throw new BerthError(
    "invalid",
    `Invalid checkpoint ID (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    {
      operation: "name checkpoint",
      object: name,
    },
  );
}
