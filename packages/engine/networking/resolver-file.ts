/**
 * The /etc/resolv.conf of a running container, when its first network of a user's gives it another name server. The file
 * is bound over the container's: it is written in place.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";

/** Puts `current` in the place of `former`; a file that says something else is the container's own affair. */
export function replaceResolvConf(
  context: EngineContext,
  record: ContainerRecord,
  former: string,
  current: string,
): void {
  if (former === current) return;
  const path = join(containerDirectory(context.config, record.id), "resolv.conf");
  if (readFileSync(path, "utf8") === former) writeFileSync(path, current);
}
