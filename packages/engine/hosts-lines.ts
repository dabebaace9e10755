/**
 * The lines of a running container's own addresses in its /etc/hosts. The file is bound over the container's: it is
 * written in place, and lines that are not ours stay, whoever put them there.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { containerDirectory } from "#engine/container-paths.ts";
import type { ContainerRecord } from "#engine/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";

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

function edit(context: EngineContext, record: ContainerRecord, change: (lines: string[]) => string[]): void {
  const path = join(containerDirectory(context.config, record.id), "hosts");
  const lines = readFileSync(path, "utf8").replace(/\n$/, "").split("\n");
  writeFileSync(
    path,
    change(lines)
      .map((line) => `${line}\n`)
      .join(""),
  );
}
