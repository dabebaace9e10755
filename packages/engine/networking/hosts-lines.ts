/**
 * The lines of a running container's own addresses in its /etc/hosts. Lines that are not ours stay, whoever put them
 * there.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { containerDirectory } from "#engine/containers/container-paths.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { overwrite } from "#engine/networking/overwrite.ts";

export function addOwnAddresses(
  context: EngineContext,
  record: ContainerRecord,
  addresses: readonly string[],
): void {
  const { Hostname = "", Domainname = "" } = record.config;
  const names = Domainname === "" ? Hostname : `${Hostname}.${Domainname} ${Hostname}`;
  edit(context, record, (lines) => [...lines, ...addresses.map((address) => `${address}\t${names}`)]);
}

export function removeOwnAddresses(
  context: EngineContext,
  record: ContainerRecord,
  addresses: readonly string[],
): void {
  edit(context, record, (lines) => lines.filter((line) => !addresses.includes(line.split(/\s/)[0] ?? "")));
}

export function hostsPath(context: EngineContext, record: ContainerRecord): string {
  return join(containerDirectory(context.config, record.id), "hosts");
}

export function writeHosts(context: EngineContext, record: ContainerRecord, text: string): void {
  overwrite(hostsPath(context, record), text);
}

function edit(context: EngineContext, record: ContainerRecord, change: (lines: string[]) => string[]): void {
  const lines = readFileSync(hostsPath(context, record), "utf8").replace(/\n$/, "").split("\n");
  writeHosts(
    context,
    record,
    change(lines)
      .map((line) => `${line}\n`)
      .join(""),
  );
}
