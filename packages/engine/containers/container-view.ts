/** What `docker inspect` and `docker ps` show of a container. */

import { join } from "node:path";
import type { ContainerInspect, ContainerSummary, NetworkSettings, Port } from "#api-types/container.ts";
import type { EndpointSettings, PortBinding } from "#api-types/network.ts";
import type { Container } from "#engine/containers/container.ts";
import { type ContainerMount, mountPoint } from "#engine/containers/container-record.ts";
import { statusText } from "#engine/containers/status-text.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { etcFiles } from "#engine/launch/etc-files.ts";
import { inspectedLogPath } from "#engine/launch/log-plan.ts";
import { parseSecurityOptions } from "#engine/launch/security-options.ts";
import { imageMountPath } from "#engine/mounts/image-mounts.ts";
import { FROM_TMPFS_FLAG } from "#engine/mounts/resolve-mounts.ts";
import { shownLinks } from "#engine/networking/legacy-links.ts";
import { shownConfig, shownHostConfig } from "#engine/requests/shown-config.ts";
import { nowNanoseconds, ZERO_TIME } from "#engine/timestamps.ts";
import { bareEndpoint } from "#networks/endpoint-settings.ts";

export async function inspectContainer(
  context: EngineContext,
  container: Container,
): Promise<ContainerInspect> {
  const { record } = container;
  const files = etcFiles(context, record);
  // They are made by the first start.
  const started = record.state.StartedAt !== ZERO_TIME;
  return {
    Id: record.id,
    Created: record.created,
    Path: record.path,
    Args: record.args,
    State: { ...record.state },
    Image: record.imageId,
    ResolvConfPath: started ? files.resolvConf : "",
    HostnamePath: started ? files.hostname : "",
    HostsPath: started ? files.hosts : "",
    LogPath: record.state.StartedAt === ZERO_TIME ? "" : inspectedLogPath(record, context.config),
    Name: `/${record.name}`,
    RestartCount: record.restartCount,
    Driver: context.storage.name,
    Platform: "linux",
    MountLabel: "",
    ProcessLabel: "",
    AppArmorProfile: parseSecurityOptions(record.hostConfig.SecurityOpt ?? []).apparmor ?? "",
    ExecIDs: container.execIds.size === 0 ? null : [...container.execIds],
    HostConfig: {
      ...shownHostConfig(record.hostConfig),
      Links: shownLinks(context.containers, record) ?? null,
    },
    GraphDriver: { Name: context.storage.name, Data: await context.storage.metadata(record.id) },
    Mounts: mountPoints(context, container),
    Config: shownConfig(record.config),
    NetworkSettings: networkSettings(context, container),
  };
}

export function summarize(context: EngineContext, container: Container): ContainerSummary {
  const { record } = container;
  const settings = networkSettings(context, container);
  const annotations = record.hostConfig.Annotations;
  return {
    Id: record.id,
    Names: [`/${record.name}`],
    Image: record.imageName,
    ImageID: record.imageId,
    Command: commandLine(record.path, record.args),
    Created: Math.floor(Date.parse(record.created) / 1000),
    Ports: portsOf(settings.Ports),
    Labels: record.config.Labels ?? {},
    State: record.state.Status,
    Status: statusText(record.state, nowNanoseconds()),
    HostConfig: {
      NetworkMode: record.hostConfig.NetworkMode ?? "bridge",
      ...(annotations === undefined ? {} : { Annotations: annotations }),
    },
    NetworkSettings: { Networks: settings.Networks },
    Mounts: mountPoints(context, container),
  };
}

/** As dockerd has it: words with spaces in quotes, so that one can tell them apart. */
function commandLine(path: string, args: readonly string[]): string {
  return [path, ...args.map((word) => (word.includes(" ") ? `'${word}'` : word))].join(" ");
}

function mountPoints(context: EngineContext, container: Container) {
  const { dataRoot } = context.config;
  const pathOf = (mount: ContainerMount) => {
    if (mount.type === "image") return imageMountPath(dataRoot, container.id, mount);
    if ((mount.driver ?? "local") !== "local") return mount.source;
    return join(dataRoot, "volumes", mount.volume, "_data");
  };
  return container.record.mounts
    .filter((mount) => mount.type !== "tmpfs" || mount.mode !== FROM_TMPFS_FLAG)
    .map((mount) => mountPoint(mount, pathOf));
}

/** With the default bridge's endpoint repeated at the top level, as old clients read it. */
function networkSettings(context: EngineContext, container: Container): NetworkSettings {
  const { record } = container;
  const held = record.state.Running ? context.networks.settings(record.id) : undefined;
  const networks = held?.endpoints ?? restingEndpoints(container);
  const top = networks.bridge;
  return {
    Bridge: "",
    SandboxID: held?.sandboxId ?? "",
    // Where tools that enter the network (nsenter --net) find it.
    SandboxKey: held === undefined ? "" : `/proc/${record.state.Pid}/ns/net`,
    Ports: held?.ports ?? {},
    HairpinMode: false,
    LinkLocalIPv6Address: "",
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: top?.EndpointID ?? "",
    Gateway: top?.Gateway ?? "",
    GlobalIPv6Address: top?.GlobalIPv6Address ?? "",
    GlobalIPv6PrefixLen: top?.GlobalIPv6PrefixLen ?? 0,
    IPAddress: top?.IPAddress ?? "",
    IPPrefixLen: top?.IPPrefixLen ?? 0,
    IPv6Gateway: top?.IPv6Gateway ?? "",
    MacAddress: top?.MacAddress ?? "",
    Networks: networks,
  };
}

/** What a container that does not run is configured to join. */
function restingEndpoints(container: Container): Record<string, EndpointSettings> {
  const { hostConfig, endpoints } = container.record;
  const mode = hostConfig.NetworkMode ?? "bridge";
  if (mode.startsWith("container:")) return {};
  return Object.fromEntries(
    Object.entries(endpoints).map(([name, wishes]) => [name, { ...bareEndpoint("", ""), ...wishes }]),
  );
}

function portsOf(ports: Record<string, PortBinding[] | null>): Port[] {
  return Object.entries(ports).flatMap(([key, bindings]) => {
    const [port = "", protocol = "tcp"] = key.split("/");
    const inside = { PrivatePort: Number(port), Type: protocol };
    if (bindings === null || bindings.length === 0) return [inside];
    return bindings.map((binding) => ({
      IP: binding.HostIp,
      // None where the container is reached by its own address.
      ...(binding.HostPort !== "" && { PublicPort: Number(binding.HostPort) }),
      ...inside,
    }));
  });
}
