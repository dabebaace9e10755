/** Creating a container for `run` and `create`: the image is fetched if it is missing and may be. */
import { closeSync, existsSync, openSync, unlinkSync, writeSync } from "node:fs";
import type { ContainerCreateResponse } from "#api-types/container.ts";
import { type Context, ExitError, messageOf } from "#cli/command.ts";
import type { FlagValues } from "#cli/flags.ts";
import { fetchImage } from "#cli/image-fetch.ts";
import { withDefaultTag } from "#cli/image-name.ts";
import { createRequest, InvalidOptionsError, type ParsedCreate } from "#cli/run/create-request.ts";
import { DaemonError } from "#client/client.ts";

/** Exit code of docker's run and create when it is not the container's. */
export const FAILED = 125;

/** The request of the flags. Throws ExitError 125 for what does not fit together. */
export function readRequest(verb: string, flags: FlagValues, context: Context): ParsedCreate {
  const pull = flags.string("pull");
  if (!["", "always", "missing", "never"].includes(pull))
    throw new ExitError(
      FAILED,
      `berth: invalid pull option: '${pull}': must be one of "always", "missing" or "never"`,
      verb,
    );
  try {
    const { env, cwd, apiSocket } = context;
    const readFile = (path: string) => context.readFile(path);
    return createRequest(flags, { env, cwd, readFile, ...(apiSocket !== undefined && { apiSocket }) });
  } catch (error) {
    if (error instanceof InvalidOptionsError) throw new ExitError(FAILED, `berth: ${error.message}`, verb);
    throw error;
  }
}

/** Creates it and resolves with its id. Throws ExitError. */
export async function makeContainer(verb: string, parsed: ParsedCreate, context: Context): Promise<string> {
  const cidfile = parsed.flags.string("cidfile");
  if (cidfile !== "" && existsSync(cidfile)) {
    const message = `container ID file found, make sure the other container isn't running or delete ${cidfile}`;
    throw new ExitError(FAILED, `berth: ${message}`, verb);
  }
  const file = cidfile === "" ? undefined : openSync(cidfile, "wx");
  let id = "";
  try {
    const { Id, Warnings } = await createWithImage(parsed, context);
    id = Id;
    for (const warning of Warnings ?? []) context.stderr.write(`WARNING: ${warning}\n`);
    if (file !== undefined) writeSync(file, id);
    return id;
  } catch (error) {
    const message = messageOf(error);
    throw verb === "run" ? new ExitError(FAILED, `berth: ${message}`, verb) : new ExitError(1, message);
  } finally {
    if (file !== undefined) closeSync(file);
    if (file !== undefined && id === "") unlinkSync(cidfile);
  }
}

async function createWithImage(parsed: ParsedCreate, context: Context): Promise<ContainerCreateResponse> {
  const client = await context.client();
  const { flags, name, platform, image } = parsed;
  const create = async () =>
    await client.json<ContainerCreateResponse>("POST", "/containers/create", {
      query: { name, platform },
      body: parsed.request,
    });
  const pull = flags.string("pull") || "missing";
  const progress = flags.bool("quiet") ? undefined : context.stderr;
  if (pull === "always") await fetchImage(image, platform, progress, context);
  try {
    return await create();
  } catch (error) {
    const missing =
      error instanceof DaemonError && error.status === 404 && /No such image/i.test(error.message);
    if (!missing || pull !== "missing") throw error;
    if (!flags.bool("quiet"))
      context.stderr.write(`Unable to find image '${withDefaultTag(image)}' locally\n`);
    await fetchImage(image, platform, progress, context);
    return await create();
  }
}

/** The exit code for a container that could not be started: 127 not found, 126 not executable, else 125. */
export function startFailureCode(message: string): number {
  if (/executable file not found|no such file or directory|system cannot find the file/.test(message))
    return 127;
  if (/permission denied|is a directory/.test(message)) return 126;
  return FAILED;
}
