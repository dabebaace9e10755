/**
 * Containers that the database does not know any more: what they wrote, and the processes of those that run, are worth more
 * than a database. Each gets a row again, with nothing in it but its id.
 */
import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { HostConfig } from "#api-types/container.ts";
import { runDirectory } from "#engine/containers/container-paths.ts";
import { emptyRecord } from "#engine/containers/damaged-records.ts";
import type { EngineContext } from "#engine/engine-context.ts";

/** Call once, after the rows were read and before anything is taken for litter. */
export async function findLost(
  context: Pick<EngineContext, "config" | "containers" | "database" | "logger">,
  hostConfig: HostConfig,
): Promise<void> {
  const known = new Set(context.containers.storedIds());
  const root = join(context.config.dataRoot, "containers");
  for (const id of await readdir(root).catch(() => [])) {
    if (known.has(id) || !/^[0-9a-f]{64}$/.test(id)) continue;
    // Without a damaged database, and a run, it is what a power cut left of one that was just being made.
    if (!context.database.keepsDamaged && !existsSync(runDirectory(context.config, id))) continue;
    const { birthtimeMs } = await stat(join(root, id));
    const row = { id, name: null, phase: "present", created: Math.floor(birthtimeMs) };
    context.containers.add(emptyRecord(row, hostConfig, "its record was lost with the state database"));
    context.logger.error("a container without a record is here again", { container: id });
  }
}
