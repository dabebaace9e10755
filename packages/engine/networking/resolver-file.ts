/**
 * The /etc/resolv.conf of a running container, when its first network of a user's gives it another name server. The file
 * is bound over the container's: it is written in place.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { sandboxRequest } from "#engine/launch/sandbox-request.ts";
import { overwrite } from "#engine/networking/overwrite.ts";

/**
 * Puts the name server into the file, if the container has it by now and the file says what it said before; anything else
 * in it is the container's own affair. Idempotent: also for a connect that was cut short.
 */
export function pointToNameServer(context: EngineContext, record: ContainerRecord): void {
  const texts = context.networks.embeddedResolvConf(sandboxRequest(context, record));
  if (texts === undefined) return;
  const path = join(containerDirectory(context.config, record.id), "resolv.conf");
  if (readFileSync(path, "utf8") === texts.former) overwrite(path, texts.current);
}
