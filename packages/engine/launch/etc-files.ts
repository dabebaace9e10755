/**
 * The three small files that are bound over a container's own in /etc: hosts, hostname, resolv.conf. They are written where
 * the engine alone has a say. A container that shares another's network has that one's files, and its name.
 */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { containerRoot } from "#engine/launch/user-namespace.ts";
import type { Sandbox } from "#networks/network-types.ts";

export interface EtcFiles {
  hosts: string;
  hostname: string;
  resolvConf: string;
}

/** Their paths, whether they are there or not. */
export function etcFiles(
  context: Pick<EngineContext, "config" | "containers">,
  record: ContainerRecord,
): EtcFiles {
  const directory = containerDirectory(context.config, (networkOwner(context, record) ?? record).id);
  return {
    hosts: join(directory, "hosts"),
    hostname: join(directory, "hostname"),
    resolvConf: join(directory, "resolv.conf"),
  };
}

/** Writes them for a start; or, where the network is another's, takes over the name that goes with it. */
export function prepareEtcFiles(context: EngineContext, record: ContainerRecord, sandbox: Sandbox): EtcFiles {
  const files = etcFiles(context, record);
  mkdirSync(containerDirectory(context.config, record.id), { recursive: true, mode: 0o710 });
  const owner = networkOwner(context, record);
  if (owner !== undefined) {
    record.config.Hostname = owner.config.Hostname ?? "";
    record.config.Domainname = owner.config.Domainname ?? "";
    return files;
  }
  writeFileSync(files.hosts, sandbox.hosts);
  writeFileSync(files.hostname, `${record.config.Hostname}\n`);
  writeFileSync(files.resolvConf, sandbox.resolvConf);
  if (context.idMap !== undefined) {
    const { uid, gid } = containerRoot(context);
    for (const path of Object.values(files)) chownSync(path, uid, gid);
  }
  return files;
}

/** The container that has the network this one shares; undefined where it has its own, or nobody has it any more. */
function networkOwner(
  context: Pick<EngineContext, "containers">,
  record: ContainerRecord,
): ContainerRecord | undefined {
  const mode = record.hostConfig.NetworkMode ?? "";
  if (!mode.startsWith("container:") || record.config.NetworkDisabled) return undefined;
  const other = context.containers.find(mode.slice("container:".length))?.record;
  // A container cannot be asked to share its own, but a name may have moved on to it.
  return other === undefined || other.id === record.id ? undefined : (networkOwner(context, other) ?? other);
}
