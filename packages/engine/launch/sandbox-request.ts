/** What a container asks of the network, from its record. */

import type { ContainerRecord } from "#engine/containers/container-record.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { isDetached } from "#engine/networking/endpoint-wishes.ts";
import { BerthError } from "#errors/errors.ts";
import type { SandboxRequest } from "#networks/network-types.ts";

/** Throws "conflict" if the container whose network is to be shared does not run. */
export function sandboxRequest(context: EngineContext, record: ContainerRecord): SandboxRequest {
  const { config, hostConfig } = record;
  const portBindings = Object.entries(hostConfig.PortBindings ?? {}).map(
    ([port, bindings]) => [port, bindings ?? []] as const,
  );
  return {
    containerId: record.id,
    name: record.name,
    mode: resolveMode(context, config.NetworkDisabled ? "none" : (hostConfig.NetworkMode ?? "bridge")),
    hostname: config.Hostname ?? "",
    domainname: config.Domainname ?? "",
    ...(config.MacAddress ? { macAddress: config.MacAddress } : {}),
    endpoints: config.NetworkDisabled ? {} : record.endpoints,
    detached: !config.NetworkDisabled && isDetached(record),
    portBindings: Object.fromEntries(portBindings),
    exposedPorts: Object.keys(config.ExposedPorts ?? {}),
    publishAllPorts: hostConfig.PublishAllPorts ?? false,
    dns: hostConfig.Dns ?? [],
    dnsSearch: hostConfig.DnsSearch ?? [],
    dnsOptions: hostConfig.DnsOptions ?? [],
    extraHosts: hostConfig.ExtraHosts ?? [],
  };
}

function resolveMode(context: EngineContext, mode: string): string {
  if (!mode.startsWith("container:")) return mode;
  const name = mode.slice("container:".length);
  const other = context.containers.get(name);
  if (!other.isRunning || other.record.state.Restarting) {
    throw new BerthError("conflict", `cannot join network of a non running container: ${name}`, {
      operation: "start container",
      object: name,
      hint: `start ${name} first`,
    });
  }
  return `container:${other.id}`;
}
