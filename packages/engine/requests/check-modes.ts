/**
 * Namespaces to be shared, and what cannot be had together with them, with Docker's texts. Pure, but for asking whether
 * another container is there.
 */
import type { ContainerConfig, HostConfig } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";

/** Names under which the runtime there is can be asked for: its own, and those of the runtime that clients expect. */
export const RUNTIMES = ["berth", "runc", "io.containerd.runc.v2"];

export interface ModeLookup {
  /** Throws not-found for a container that isn't there. */
  container(nameOrId: string): unknown;
}

/** Answers warnings. Throws "invalid" for unknown modes, containers that aren't there, and contradictions. */
export function checkModes(config: ContainerConfig, hostConfig: HostConfig, lookup: ModeLookup): string[] {
  checkMode("PID", hostConfig.PidMode, ["", "host"], lookup);
  checkMode("IPC", hostConfig.IpcMode, ["", "host", "none", "private", "shareable"], lookup);
  checkMode("UTS", hostConfig.UTSMode, ["", "host"], undefined);
  checkMode("userns", hostConfig.UsernsMode, ["", "host"], undefined);
  if (!["", "host", "private", undefined].includes(hostConfig.CgroupnsMode)) {
    throw invalid(`invalid cgroup namespace mode: ${hostConfig.CgroupnsMode}`);
  }
  const { Isolation, Runtime } = hostConfig;
  if (Isolation && Isolation !== "default") {
    throw invalid(`invalid isolation: ${JSON.stringify(Isolation)} - linux only supports 'default'`);
  }
  if (Runtime && !RUNTIMES.includes(Runtime)) {
    throw invalid(`unknown or invalid runtime name: ${Runtime}`, `use ${RUNTIMES[0]}, or leave it out`);
  }
  for (const link of hostConfig.Links ?? []) {
    const parts = link.split(":");
    const [name = ""] = parts;
    if (parts.length > 2 || parts.includes("")) throw invalid(`bad format for links: ${link}`);
    present(name, lookup, `could not get container for ${name}: `);
  }
  return checkNetwork(config, hostConfig);
}

function checkMode(
  what: string,
  mode: string | undefined,
  known: readonly string[],
  lookup: ModeLookup | undefined,
): void {
  if (mode === undefined || known.includes(mode)) return;
  const other = lookup === undefined ? undefined : /^container:(.+)$/.exec(mode)?.[1];
  if (other === undefined || lookup === undefined) throw invalid(`invalid ${what} mode: ${mode}`);
  present(other, lookup, "");
}

/** Not found is the image to clients, who would pull it. */
export function present(nameOrId: string, lookup: ModeLookup, before: string): void {
  try {
    lookup.container(nameOrId);
  } catch (cause) {
    if (!(cause instanceof BerthError)) throw cause;
    throw invalid(`${before}${cause.message}`, undefined, cause);
  }
}

/** Each is a socket or two of the daemon, and a rule; what is left of its descriptors decides at the start. */
const mostPorts = 32_768;

function checkNetwork(config: ContainerConfig, hostConfig: HostConfig): string[] {
  const mode = hostConfig.NetworkMode ?? "";
  const ports = Object.keys(hostConfig.PortBindings ?? {}).length;
  if (ports > mostPorts) {
    throw invalid(
      `too many published ports: ${ports}, a container can have ${mostPorts}`,
      "publish fewer, or use --network host",
    );
  }
  const published = ports > 0;
  if (mode.startsWith("container:")) {
    if (mode === "container:") {
      throw invalid("invalid network mode: invalid container format container:<name|id>");
    }
    const conflicts: [boolean, string][] = [
      [Boolean(config.Hostname), "hostname and the network mode"],
      [
        (hostConfig.Links ?? []).length > 0,
        "container type network can't be used with links. This would result in undefined behavior",
      ],
      [(hostConfig.Dns ?? []).length > 0, "dns and the network mode"],
      [(hostConfig.ExtraHosts ?? []).length > 0, "custom host-to-IP mapping and the network mode"],
      [Boolean(config.MacAddress), "mac-address and the network mode"],
      [
        published || (hostConfig.PublishAllPorts ?? false),
        "port publishing and the container type network mode",
      ],
      [
        Object.keys(config.ExposedPorts ?? {}).length > 0,
        "port exposing and the container type network mode",
      ],
    ];
    const found = conflicts.find(([given]) => given);
    if (found !== undefined) throw invalid(`conflicting options: ${found[1]}`);
  }
  if (mode === "host" && (hostConfig.Links ?? []).length > 0) {
    throw invalid(
      "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
    );
  }
  if (hostConfig.UTSMode === "host" && config.Hostname) {
    throw invalid("conflicting options: hostname and the UTS mode");
  }
  for (const entry of hostConfig.ExtraHosts ?? []) checkExtraHost(entry);
  for (const [port, bindings] of Object.entries(hostConfig.PortBindings ?? {})) {
    checkPort(port);
    for (const { HostPort } of bindings ?? []) checkHostPort(HostPort ?? "");
  }
  const discarded = mode === "host" && published;
  return discarded ? ["Published ports are discarded when using host network mode"] : [];
}

/** "name:address", with "host-gateway" for the host. */
function checkExtraHost(entry: string): void {
  const at = entry.indexOf(":");
  const [name, address] = [entry.slice(0, at), entry.slice(at + 1)];
  if (at < 0 || name === "") throw invalid(`bad format for add-host: ${JSON.stringify(entry)}`);
  if (address !== "host-gateway" && !isAddress(address)) {
    throw invalid(`invalid IP address in add-host: ${JSON.stringify(address)}`);
  }
}

function isAddress(text: string): boolean {
  const bare = text.replace(/^\[(.*)\]$/, "$1");
  return bare.includes(":") ? URL.canParse(`http://[${bare}]`) : /^\d{1,3}(\.\d{1,3}){3}$/.test(bare);
}

function checkPort(port: string): void {
  const [number = "", protocol = "tcp"] = port.split("/");
  if (!isPort(number)) throw invalid(`invalid port specification: ${JSON.stringify(number)}`);
  if (!["tcp", "udp", "sctp"].includes(protocol.toLowerCase())) {
    throw invalid(`invalid port protocol: ${JSON.stringify(protocol)}`, "use tcp, udp or sctp");
  }
}

/** "", "8080", or a range to choose from. */
function checkHostPort(port: string): void {
  const [first = "", last = first] = port.split("-");
  const whole = port === "" || (isPort(first) && isPort(last) && Number(first) <= Number(last));
  if (!whole) throw invalid(`invalid port specification: ${JSON.stringify(port)}`);
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
}

function invalid(message: string, hint?: string, cause?: unknown): BerthError {
  return new BerthError("invalid", message, {
    operation: "create container",
    ...(hint !== undefined && { hint }),
    ...(cause !== undefined && { cause }),
  });
}
