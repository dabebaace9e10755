/** GET /info as older versions of the API have it; what the engine gives is the newest. */
import { type ApiVersion, atLeast } from "./versions.ts";

type Info = Record<string, unknown>;

/** Fields that came with a version, by name. */
const addedIn: readonly [`${number}.${number}`, string][] = [
  ["1.44", "CDISpecDirs"],
  ["1.46", "Containerd"],
  ["1.49", "FirewallBackend"],
  ["1.50", "DiscoveredDevices"],
];

export function infoAnswer(newest: Info, version: ApiVersion): Info {
  const info = { ...newest };
  for (const [since, name] of addedIn) if (!atLeast(version, since)) delete info[name];
  if (!atLeast(version, "1.50")) {
    // Meaningless since the kernel module is loaded when it is needed.
    info.BridgeNfIptables = false;
    info.BridgeNfIp6tables = false;
  }
  if (!atLeast(version, "1.49")) {
    for (const name of ["ContainerdCommit", "RuncCommit", "InitCommit"]) {
      const { ID } = asObject(info[name]);
      info[name] = { ID, Expected: ID };
    }
    info.RegistryConfig = {
      AllowNondistributableArtifactsCIDRs: null,
      AllowNondistributableArtifactsHostnames: null,
      ...asObject(info.RegistryConfig),
    };
  }
  if (!atLeast(version, "1.44")) {
    const runtimes = Object.entries(asObject(info.Runtimes));
    info.Runtimes = Object.fromEntries(
      runtimes.map(([name, runtime]) => {
        const { status: _status, ...rest } = asObject(runtime);
        return [name, rest];
      }),
    );
  }
  if (!atLeast(version, "1.25")) {
    // Names alone, without what is to be known of them.
    info.SecurityOptions = asList(info.SecurityOptions).map((option) =>
      String(option).replace(/^name=([^,]*).*$/, "$1"),
    );
    info.ExecutionDriver = "<not supported>";
  }
  return info;
}

function asObject(value: unknown): Info {
  return typeof value === "object" && value !== null ? (value as Info) : {};
}

function asList(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}
