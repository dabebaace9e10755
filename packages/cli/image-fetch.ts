/**
 * Gets an image that is not there: from its registry, or, for Berth's own busybox, from the archive that the set-up
 * made, so that a machine without a network can run something.
 */
import { createReadStream, readFileSync } from "node:fs";
import type { ProgressMessage } from "#api-types/image.ts";
import type { Context } from "#cli/command.ts";
import { registryOf, splitImageName } from "#cli/image-name.ts";
import { showProgress } from "#cli/output/progress.ts";
import { jsonLines } from "#client/json-lines.ts";

const BUSYBOX = "berth/busybox";

/** Throws DaemonError, and Error with the text of a failure in the stream. Progress goes to `output`. */
export async function fetchImage(
  name: string,
  platform: string,
  output: { write(text: string): unknown; isTTY?: boolean; columns?: number } | undefined,
  context: Context,
): Promise<void> {
  const client = await context.client();
  const { repository, tag } = splitImageName(name);
  const quiet = { write() {} };
  if (repository === BUSYBOX && (tag === "" || tag === "latest") && context.busyboxArchive !== undefined) {
    const archive = createReadStream(context.busyboxArchive);
    const loaded = await client.request("POST", "/images/load", {
      query: { quiet: true },
      stream: archive,
      headers: { "Content-Type": "application/x-tar" },
    });
    await showProgress(jsonLines<ProgressMessage>(loaded), quiet);
    return;
  }
  const auth = registryAuth(registryOf(repository), context);
  const pulled = await client.request("POST", "/images/create", {
    query: { fromImage: repository, tag: tag || "latest", platform },
    ...(auth !== undefined && { headers: { "X-Registry-Auth": auth } }),
  });
  await showProgress(jsonLines<ProgressMessage>(pulled), output ?? quiet);
}

/** Credentials of docker's own settings file, as the header wants them; undefined if there are none for this registry. */
function registryAuth(registry: string, context: Context): string | undefined {
  const directory = context.env.DOCKER_CONFIG || `${context.env.HOME ?? ""}/.docker`;
  let settings: { auths?: Record<string, { auth?: string; identitytoken?: string }> };
  try {
    settings = JSON.parse(readFileSync(`${directory}/config.json`, "utf8"));
  } catch {
    // No settings, or none that can be read: then without credentials, as docker does.
    return undefined;
  }
  const entry = settings.auths?.[registry];
  if (entry?.auth === undefined) return undefined;
  const [username = "", ...password] = Buffer.from(entry.auth, "base64").toString("utf8").split(":");
  const credentials = {
    username,
    password: password.join(":"),
    serveraddress: registry,
    ...(entry.identitytoken && { identitytoken: entry.identitytoken }),
  };
  return Buffer.from(JSON.stringify(credentials)).toString("base64url");
}
