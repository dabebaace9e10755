/**
 * Facts about the host: what the program compiler depends on, and what `docker info` and `docker version` show.
 *
 * Read once at start-up; only small files of /proc, /sys and /etc are read, each of which may be missing.
 */
import { existsSync, readFileSync } from "node:fs";
import { arch, availableParallelism, cpus, hostname, release, totalmem, version } from "node:os";
import type { HostFacts } from "#runtime/launch-types.ts";

/** What the compiler needs to know. */
export function readHostFacts(): HostFacts {
  const resctrl = "/sys/fs/resctrl";
  return {
    architecture: arch() === "arm64" ? "arm64" : "x64",
    lastCapability: Number(readOr("/proc/sys/kernel/cap_last_cap", "40")),
    availableCapabilities: parseCapabilityMask(readOr("/proc/self/status", "")),
    seccompActions: readOr("/proc/sys/kernel/seccomp/actions_avail", "").split(/\s+/).filter(Boolean),
    apparmor: readOr("/sys/module/apparmor/parameters/enabled", "N").startsWith("Y"),
    selinux: existsSync("/sys/fs/selinux/enforce"),
    inUserNamespace: inUserNamespace(),
    ...(existsSync(`${resctrl}/info`) && { resctrl }),
    kernelRelease: release(),
  };
}

/** Are we root of a user namespace at most? In the first one everybody is who he is. */
export function inUserNamespace(): boolean {
  return !/^\s*0\s+0\s+4294967295$/.test(readOr("/proc/self/uid_map", "0 0 4294967295"));
}

/** What is both permitted and in the bounding set, of a /proc/<pid>/status; everything if it doesn't say. */
export function parseCapabilityMask(status: string): bigint {
  const mask = (name: string) => {
    const digits = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, "m").exec(status)?.[1];
    return digits === undefined ? 2n ** 64n - 1n : BigInt(`0x${digits}`);
  };
  return mask("CapPrm") & mask("CapBnd");
}

export interface SystemFacts {
  /** Fields of os-release(5): NAME, VERSION_ID, PRETTY_NAME … */
  osRelease: Record<string, string>;
  /** "Debian GNU/Linux 12 (bookworm)". */
  operatingSystem: string;
  kernelRelease: string;
  /** "#1 SMP PREEMPT_DYNAMIC …". */
  kernelBuild: string;
  /** As uname -m has it: "x86_64", "aarch64". */
  machine: string;
  /** As Go and image manifests have it: "amd64", "arm64". */
  goArchitecture: string;
  cpus: number;
  /** NUMA nodes with memory, as "0" or "0-1". */
  memoryNodes: string;
  cpuModel: string;
  /** Bytes. */
  memoryTotal: number;
  hostname: string;
  timeZone: string;
}

export function readSystemFacts(): SystemFacts {
  const osRelease = parseOsRelease(readOr("/etc/os-release", readOr("/usr/lib/os-release", "")));
  const arm = arch() === "arm64";
  return {
    osRelease,
    operatingSystem: osRelease.PRETTY_NAME ?? osRelease.NAME ?? "Linux",
    kernelRelease: release(),
    kernelBuild: version(),
    machine: arm ? "aarch64" : "x86_64",
    goArchitecture: arm ? "arm64" : "amd64",
    cpus: availableParallelism(),
    memoryNodes: readOr("/sys/devices/system/node/has_memory", "0") || "0",
    cpuModel: cpus()[0]?.model ?? "",
    memoryTotal: totalmem(),
    hostname: hostname(),
    timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
  };
}

/** Parses os-release(5): shell assignments, quoted or not. */
export function parseOsRelease(text: string): Record<string, string> {
  const fields: Record<string, string> = {};
  for (const line of text.split("\n")) {
    const match = /^\s*([A-Z][A-Z0-9_]*)=(.*)$/.exec(line);
    if (match?.[1] === undefined || match[2] === undefined) continue;
    fields[match[1]] = unquote(match[2].trim());
  }
  return fields;
}

function unquote(value: string): string {
  const quote = value[0];
  if (value.length >= 2 && (quote === '"' || quote === "'") && value.endsWith(quote)) {
    const inside = value.slice(1, -1);
    return quote === '"' ? inside.replace(/\\(["$`\\])/g, "$1") : inside;
  }
  return value;
}

/** Content without the final newline, or the default where the file cannot be read: none of these is essential. */
function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8").trimEnd();
  } catch {
    return otherwise;
  }
}
