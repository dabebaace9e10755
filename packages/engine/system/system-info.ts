/**
 * What the host can do for containers, as `docker info` tells it: which limits its cgroups and its kernel have, and a warning
 * for each that is missing.
 *
 * Looks at the cgroup file system and the kernel's settings when asked; changes nothing.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { DaemonConfig } from "#config/config-types.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { features } from "#runtime/features.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";

/** Fields of GET /info. */
export interface HostAbilities {
  MemoryLimit: boolean;
  SwapLimit: boolean;
  /** Where kernel memory of TCP buffers can be limited by itself: cgroup version 1 only. */
  KernelMemoryTCP?: true;
  CpuCfsPeriod: boolean;
  CpuCfsQuota: boolean;
  CPUShares: boolean;
  CPUSet: boolean;
  PidsLimit: boolean;
  OomKillDisable: boolean;
  IPv4Forwarding: boolean;
}

export function hostAbilities({ cgroups, limits }: Pick<EngineContext, "cgroups" | "limits">): HostAbilities {
  const has = cgroups.version === 1 ? versionOne(cgroups) : versionTwo(cgroups);
  return {
    MemoryLimit: has("memory", "memory.limit_in_bytes"),
    SwapLimit: limits.swapLimit,
    ...(cgroups.version === 1 &&
      has("memory", "memory.kmem.tcp.limit_in_bytes") && { KernelMemoryTCP: true }),
    CpuCfsPeriod: has("cpu", "cpu.cfs_period_us"),
    CpuCfsQuota: has("cpu", "cpu.cfs_quota_us"),
    CPUShares: has("cpu", "cpu.shares"),
    CPUSet: has("cpuset", "cpuset.cpus"),
    PidsLimit: has("pids", ""),
    OomKillDisable: cgroups.version === 1 && has("memory", "memory.oom_control"),
    IPv4Forwarding: forwards(),
  };
}

/** What a storage driver's state gives cause for, in dockerd's words. */
export function storageWarnings(
  driver: string,
  status: readonly (readonly [string, string])[] | null,
): string[] {
  if (!status?.some(([name]) => name === "Data loop file")) return [];
  return [
    `WARNING: ${driver}: usage of loopback devices is strongly discouraged for production use.\n         Use \`--storage-opt dm.thinpooldev\` to specify a custom block storage device.`,
  ];
}

/** In dockerd's words and order. */
export function hostWarnings(context: Pick<EngineContext, "cgroups" | "limits" | "config">): string[] {
  const { cgroups, limits, config } = context;
  const abilities = hostAbilities(context);
  const unified = cgroups.version === 2;
  const throttled = (file: string) =>
    unified ? versionTwo(cgroups)("io", file) : versionOne(cgroups)("blkio", file);
  const missing: [boolean, string][] = [
    [abilities.MemoryLimit, "No memory limit support"],
    [abilities.SwapLimit, "No swap limit support"],
    [unified || abilities.KernelMemoryTCP === true, "No kernel memory TCP limit support"],
    [unified || abilities.OomKillDisable, "No oom kill disable support"],
    [abilities.CpuCfsQuota, "No cpu cfs quota support"],
    [abilities.CpuCfsPeriod, "No cpu cfs period support"],
    [abilities.CPUShares, "No cpu shares support"],
    [abilities.CPUSet, "No cpuset support"],
    // Kernels since 5.0 have none in version 1, and nothing can be done about it.
    [!unified || limits.blkioWeight, "No io.weight support"],
    [!unified || limits.blkioWeight, "No io.weight (per device) support"],
    ...THROTTLES.map(([v1, v2]): [boolean, string] => [
      throttled(`blkio.${v1}`),
      unified ? `No io.max (${v2}) support` : `No blkio ${v1} support`,
    ]),
    [abilities.IPv4Forwarding, "IPv4 forwarding is disabled"],
    [config.iptables, "iptables is disabled: published ports cannot be reached"],
  ];
  return [
    ...missing.filter(([there]) => !there).map(([, text]) => `WARNING: ${text}`),
    ...openApiWarnings(config),
  ];
}

/** Whoever reaches the API is root. */
export function openApiWarnings(config: Pick<DaemonConfig, "hosts" | "tls" | "tlsVerify">): string[] {
  const addresses = config.hosts.filter((host) => host.startsWith("tcp://")).map((host) => host.slice(6));
  if (config.tlsVerify) return [];
  const [scheme, lacks] = config.tls ? ["https", "TLS client verification"] : ["http", "encryption"];
  return addresses.map(
    (address) =>
      `[DEPRECATION NOTICE]: API is accessible on ${scheme}://${address} without ${lacks}.\n         Access to it is as good as being root on this host: use --tlsverify, or a unix socket.`,
  );
}

/** The one runtime there is, with what it can do in the form of the OCI's features document. */
export function runtimes(): Record<string, unknown> {
  const status = { "org.opencontainers.runtime-spec.features": JSON.stringify(features()) };
  return { berth: { path: "berth-oci", status } };
}

/** Files of version 1, keys of io.max in version 2. */
const THROTTLES = [
  ["throttle.read_bps_device", "rbps"],
  ["throttle.write_bps_device", "wbps"],
  ["throttle.read_iops_device", "riops"],
  ["throttle.write_iops_device", "wiops"],
] as const;

function versionOne({ v1 }: CgroupLayout): (controller: string, file: string) => boolean {
  return (controller, file) => {
    const mount = v1[controller];
    return mount !== undefined && existsSync(join(mount, file));
  };
}

function versionTwo({ v2Controllers }: CgroupLayout): (controller: string, file: string) => boolean {
  return (controller) => v2Controllers.includes(controller);
}

function forwards(): boolean {
  try {
    return readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8").trim() === "1";
  } catch {
    return false;
  }
}
