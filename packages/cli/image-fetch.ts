/**
 * Gets an image that is not there: from its registry, or, for Berth's own busybox, from the archive that the set-up
 * made, so that a machine without a network can run something.
 */
import { createReadStream } from "node:fs";
import type { ProgressMessage } from "#api-types/image.ts";
import type { Context } from "#cli/command.ts";
import { registryHeader } from "#cli/credentials.ts";
import { splitImageName } from "#cli/image-name.ts";
import { showProgress } from "#cli/output/progress.ts";
import { jsonLines } from "#client/json-lines.ts";

const BUSYBOX = "berth/busybox";

/** Throws DaemonError, and Error with the text of a failure in the stream. Progress goes to `output`. */
export async function fetchImage(
  name: string,
  platform: string,
  output: { write(text: string): unknown; isTTY?: boolean; columns?: number } | undefined,
  context: Context,
  options: { allTags?: boolean } = {},
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
  const auth = registryHeader(repository, context.env);
  const pulled = await client.request("POST", "/images/create", {
    query: { fromImage: repository, ...(options.allTags ? {} : { tag: tag || "latest" }), platform },
    ...(auth !== undefined && { headers: { "X-Registry-Auth": auth } }),
  });
  await showProgress(jsonLines<ProgressMessage>(pulled), output ?? quiet);
}
