/** One line of `ps`: a container's summary in the words of the table. */
import type { ContainerSummary, Port } from "#api-types/container.ts";
import { timeAgo } from "#cli/durations.ts";
import type { ListFormat } from "#cli/output/table.ts";
import { ellipsis, localTime, shortId } from "#cli/output/text.ts";
import { humanSize } from "#go-values/size.ts";

export const containerFormat: ListFormat = {
  columns: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
  headings: {
    ID: "CONTAINER ID",
    Image: "IMAGE",
    Command: "COMMAND",
    CreatedAt: "CREATED AT",
    RunningFor: "CREATED",
    Status: "STATUS",
    State: "STATE",
    Ports: "PORTS",
    Names: "NAMES",
    Size: "SIZE",
    Labels: "LABELS",
    Mounts: "MOUNTS",
    Networks: "NETWORKS",
    LocalVolumes: "LOCAL VOLUMES",
    Platform: "PLATFORM",
  },
  quiet: "ID",
};

export function containerRow(container: ContainerSummary, truncate: boolean): object {
  const names = container.Names.map((name) => name.replace(/^\//, "")).filter(
    (name) => !truncate || !name.includes("/"),
  );
  const mounts = container.Mounts.map((mount) => mount.Name || mount.Source);
  const image = container.Image || "<no image>";
  const size = humanSize(container.SizeRw ?? 0, 3);
  const total = container.SizeRootFs ? ` (virtual ${humanSize(container.SizeRootFs, 3)})` : "";
  return {
    Command: JSON.stringify(truncate ? ellipsis(container.Command, 20) : container.Command),
    CreatedAt: localTime(container.Created * 1000),
    ID: truncate ? shortId(container.Id) : container.Id,
    Image: truncate && image === container.ImageID ? shortId(image) : image,
    Label: container.Labels ?? {},
    Labels: labels(container.Labels),
    LocalVolumes: String(container.Mounts.filter((mount) => mount.Driver === "local").length),
    Mounts: mounts.map((name) => (truncate ? ellipsis(name, 15) : name)).join(","),
    Names: names.join(","),
    Networks: Object.keys(container.NetworkSettings?.Networks ?? {}).join(","),
    Platform: null,
    Ports: displayPorts(container.Ports ?? []),
    RunningFor: timeAgo(container.Created),
    Size: size + total,
    State: container.State,
    Status: container.Status,
  };
}

export function labels(given: Record<string, string> | null | undefined): string {
  return Object.entries(given ?? {})
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(",");
}

/** Neighbouring ports become ranges; those mapped to another number stand alone, after the rest. */
export function displayPorts(ports: readonly Port[]): string {
  const sorted = [...ports].sort(
    (a, b) =>
      a.PrivatePort - b.PrivatePort ||
      order(a.IP ?? "", b.IP ?? "") ||
      (a.PublicPort ?? 0) - (b.PublicPort ?? 0) ||
      order(a.Type, b.Type),
  );
  const groups = new Map<string, { first: number; last: number; port: Port }>();
  const ranges: string[] = [];
  const mapped: string[] = [];
  for (const port of sorted) {
    const current = port.PrivatePort;
    if (port.IP && port.PublicPort !== current) {
      mapped.push(`${hostPort(port.IP, port.PublicPort ?? 0)}->${current}/${port.Type}`);
      continue;
    }
    const key = `${port.IP ?? ""}/${port.Type}`;
    const group = groups.get(key);
    if (group && current === group.last + 1) {
      group.last = current;
      continue;
    }
    if (group) ranges.push(portRange(group));
    // Kept in the place it had first, with its new beginning.
    groups.set(key, { first: current, last: current, port });
  }
  return [...ranges, ...[...groups.values()].map(portRange), ...mapped].join(", ");
}

function portRange({ first, last, port }: { first: number; last: number; port: Port }): string {
  const range = first === last ? String(first) : `${first}-${last}`;
  return `${port.IP ? `${hostPort(port.IP, range)}->` : ""}${range}/${port.Type}`;
}

function hostPort(address: string, port: string | number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
