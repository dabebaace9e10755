/**
 * `--link` on the default bridge, where names do not resolve: the linked container's address in /etc/hosts, and what it
 * offers in variables. On users' networks links are names like any other (they are in the endpoint's settings).
 */
import { readFileSync } from "node:fs";
import type { Container } from "#engine/containers/container.ts";
import type { ContainerLink, ContainerRecord } from "#engine/containers/container-record.ts";
import type { ContainerStore } from "#engine/containers/container-store.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { hostsPath, writeHosts } from "#engine/networking/hosts-lines.ts";
import { BerthError } from "#errors/errors.ts";
import type { LinkedPeer } from "#networks/sandbox/linked-endpoints.ts";

/** Modes in which a link is one of these. */
const LINKING_MODES = ["", "default", "bridge"];
/** Variables of a linked container that say something about itself alone. */
const OWN_VARIABLES = ["HOME", "PATH"];

/** "name:alias" or "name", as the command line has them, to what is kept: a container that is renamed stays linked. */
export function resolveLinks(
  containers: ContainerStore,
  links: readonly string[],
  mode: string,
): ContainerLink[] {
  if (!LINKING_MODES.includes(mode)) return [];
  return links.map((link) => {
    const [name = "", given] = link.split(":");
    const other = containers.get(name);
    return { containerId: other.id, alias: given?.replace(/^.*\//, "") || name.replace(/^\//, "") };
  });
}

interface Linked {
  alias: string;
  record: ContainerRecord;
  address: string;
}

/** The linked containers as they run. Throws with Docker's texts for those that cannot be reached. */
export function linkedContainers(context: EngineContext, record: ContainerRecord): Linked[] {
  return (record.links ?? []).flatMap(({ containerId, alias }) => {
    const other = context.containers.find(containerId);
    if (other === undefined) return [];
    if (!other.isRunning) {
      throw refused(
        record,
        `Cannot link to a non running container: /${other.record.name} AS /${record.name}/${alias}`,
      );
    }
    const address = addressOf(context, other);
    if (address === "") {
      throw refused(
        record,
        `Cannot link to /${other.record.name}, as it does not belong to the default network`,
      );
    }
    return [{ alias, record: other.record, address }];
  });
}

function addressOf(context: EngineContext, container: Container): string {
  return context.networks.settings(container.id)?.endpoints.bridge?.IPAddress ?? "";
}

function refused(record: ContainerRecord, message: string): BerthError {
  return new BerthError("conflict", message, { operation: "start container", object: record.name });
}

/** Entries for /etc/hosts, in the form of --add-host: alias, host name and name, and the address. */
export function linkHosts(linked: readonly Linked[]): string[] {
  return linked.map((link) => `${namesOf(link).join(" ")}:${link.address}`);
}

function namesOf({ alias, record }: Pick<Linked, "alias" | "record">): string[] {
  return [alias, record.config.Hostname ?? "", ...(alias === record.name ? [] : [record.name])];
}

/** Variables as Docker has always made them of a linked container's ports and its own variables. */
export function linkEnvironment(owner: string, linked: readonly Linked[]): string[] {
  return linked.flatMap(({ alias, record, address }) => {
    const prefix = alias.toUpperCase().replaceAll("-", "_");
    const ports = Object.keys(record.config.ExposedPorts ?? {})
      .map((key) => {
        const [number = "", protocol = "tcp"] = key.split("/");
        return { number: Number(number), protocol };
      })
      .sort((a, b) => a.number - b.number || (a.protocol < b.protocol ? -1 : 1));
    const [first] = ports;
    const urlOf = (port: { number: number; protocol: string }) =>
      `${port.protocol}://${address}:${port.number}`;
    return [
      ...(first === undefined ? [] : [`${prefix}_PORT=${urlOf(first)}`]),
      ...ports.flatMap((port) => {
        const name = `${prefix}_PORT_${port.number}_${port.protocol.toUpperCase()}`;
        return [
          `${name}=${urlOf(port)}`,
          `${name}_ADDR=${address}`,
          `${name}_PORT=${port.number}`,
          `${name}_PROTO=${port.protocol}`,
        ];
      }),
      `${prefix}_NAME=/${owner}/${alias}`,
      ...(record.config.Env ?? [])
        .filter((entry) => entry.includes("=") && !OWN_VARIABLES.includes(entry.split("=", 1)[0] ?? ""))
        .map((entry) => `${prefix}_ENV_${entry}`),
    ];
  });
}

/** What inspect shows of them. */
export function shownLinks(containers: ContainerStore, record: ContainerRecord): string[] | undefined {
  const shown = (record.links ?? []).flatMap(({ containerId, alias }) => {
    const other = containers.find(containerId);
    return other === undefined ? [] : [`/${other.record.name}:/${record.name}/${alias}`];
  });
  return shown.length > 0 ? shown : undefined;
}

/** What they offer, for the firewall. */
export function linkedPeers(context: EngineContext, record: ContainerRecord): LinkedPeer[] {
  return (record.links ?? []).flatMap(({ containerId }) => {
    const other = context.containers.find(containerId);
    if (other === undefined) return [];
    return [{ containerId, exposedPorts: Object.keys(other.record.config.ExposedPorts ?? {}) }];
  });
}

/** A container has started, perhaps at another address than before: those that link to it find it there. */
export function tellLinking(context: EngineContext, started: Container): void {
  for (const container of context.containers.all()) {
    const { record } = container;
    if (record.links === undefined || !container.isRunning) continue;
    for (const { containerId, alias } of record.links) {
      if (containerId !== started.id) continue;
      moveEntry(context, record, alias, addressOf(context, started));
      context.networks.permit(record.id, linkedPeers(context, record)).catch((error: unknown) => {
        context.logger.warn("a linked container cannot be opened to", {
          container: record.name,
          error: String(error),
        });
      });
    }
  }
}

function moveEntry(context: EngineContext, record: ContainerRecord, alias: string, address: string): void {
  if (address === "") return;
  const lines = readFileSync(hostsPath(context, record), "utf8").split("\n");
  const moved = lines.map((line) => {
    const [, first] = line.split(/\s+/);
    return first === alias ? line.replace(/^\S+/, address) : line;
  });
  if (moved.some((line, at) => line !== lines[at])) writeHosts(context, record, moved.join("\n"));
}
