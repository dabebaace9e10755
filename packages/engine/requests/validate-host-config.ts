/**
 * Checks and defaults of a HostConfig, with the texts Docker's clients know. Pure: what depends on the machine comes
 * in as `limits`.
 */
import type { HostConfig } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import { completeLogConfig } from "#logs/options/known-options.ts";
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from "#runtime/default-spec.ts";

export interface HostLimits {
  cpus: number;
  cgroupVersion: 1 | 2;
  /** Does the kernel account swap per cgroup? */
  swapLimit: boolean;
  /** NUMA nodes with memory, as "0-1". */
  memoryNodes: string;
  /** Does the kernel give groups their share of real-time scheduling? */
  cpuRealtime: boolean;
  /** Can the kernel weigh block devices against each other? */
  blkioWeight: boolean;
  defaultShmSize: number;
  defaultIpcMode: string;
  defaultCgroupnsMode: string;
  /** Parent cgroup where a container is given none. */
  cgroupParent: string;
  logDriver: string;
  logOpts: Record<string, string>;
  init: boolean;
  /** Name of the runtime where a container is given none. */
  runtime: string;
}

/** The smallest memory limit in which a container can start at all (dockerd's bound). */
const MIN_MEMORY = 6 * 1024 * 1024;
/** CFS bounds, kernel Documentation/scheduler/sched-bwc.rst: period 1 ms to 1 s, quota from 1 ms. */
const CFS = { minPeriod: 1000, maxPeriod: 1_000_000, minQuota: 1000 };

/** The HostConfig with every default put in, and warnings for what the kernel cannot do. Throws "invalid". */
export function completeHostConfig(
  given: HostConfig,
  limits: HostLimits,
): { hostConfig: HostConfig; warnings: string[] } {
  const warnings: string[] = [];
  const hostConfig: HostConfig = { ...given };
  if (!given.NetworkMode || given.NetworkMode === "default") hostConfig.NetworkMode = "bridge";
  if (!given.IpcMode) hostConfig.IpcMode = limits.defaultIpcMode;
  if (!given.CgroupnsMode) {
    hostConfig.CgroupnsMode =
      limits.defaultCgroupnsMode || (limits.cgroupVersion === 2 && !given.Privileged ? "private" : "host");
  }
  if (!given.ShmSize) hostConfig.ShmSize = limits.defaultShmSize;
  if (given.ShmSize !== undefined && given.ShmSize < 0) throw invalid("SHM size can not be less than 0");
  const logDefaults = { driver: limits.logDriver, options: limits.logOpts };
  hostConfig.LogConfig = completeLogConfig(given.LogConfig, logDefaults);
  if (!given.CgroupParent && limits.cgroupParent) hostConfig.CgroupParent = limits.cgroupParent;
  if (!given.Runtime) hostConfig.Runtime = limits.runtime;
  // Of the command line, minus one says that nothing was said.
  if (given.MemorySwappiness === -1) hostConfig.MemorySwappiness = null;
  if ((given.PidsLimit ?? 0) <= 0) hostConfig.PidsLimit = null;
  if (!given.Privileged) {
    hostConfig.MaskedPaths ??= [...DEFAULT_MASKED_PATHS];
    hostConfig.ReadonlyPaths ??= [...DEFAULT_READONLY_PATHS];
  }
  // Labels that confine make no sense with the host's own processes or queues in sight, or where nothing is confined.
  if (given.PidMode === "host" || given.IpcMode === "host" || given.Privileged) {
    hostConfig.SecurityOpt = [
      ...(given.SecurityOpt ?? []).filter((one) => !/^label[=:]/.test(one)),
      "label=disable",
    ];
  }
  hostConfig.RestartPolicy = completeRestartPolicy(given);
  if (given.Init == null && limits.init) hostConfig.Init = true;
  checkMemory(hostConfig, limits, warnings);
  checkOutOfMemory(hostConfig, limits, warnings);
  checkCpu(hostConfig, limits);
  checkWeights(hostConfig, limits, warnings);
  checkNumbers(hostConfig);
  return { hostConfig, warnings };
}

/** The same for `docker update`: nothing is put in, and what is left out stays as it is. Throws "invalid". */
export function checkUpdate(
  given: HostConfig,
  limits: HostLimits,
): { change: HostConfig; warnings: string[] } {
  const warnings: string[] = [];
  const change: HostConfig = { ...given };
  if (given.RestartPolicy?.Name) change.RestartPolicy = completeRestartPolicy(given);
  // Any number below 1 has come to mean "no limit".
  if (change.PidsLimit != null && change.PidsLimit < 0) change.PidsLimit = 0;
  checkMemory(change, limits, warnings, { update: true });
  checkCpu(change, limits);
  checkWeights(change, limits, warnings);
  checkNumbers(change);
  return { change, warnings };
}

function completeRestartPolicy(given: HostConfig): { Name: string; MaximumRetryCount: number } {
  const policy = {
    Name: given.RestartPolicy?.Name || "no",
    MaximumRetryCount: given.RestartPolicy?.MaximumRetryCount ?? 0,
  };
  if (!["no", "always", "on-failure", "unless-stopped"].includes(policy.Name)) {
    throw invalid(
      `invalid restart policy: unknown policy '${policy.Name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'`,
    );
  }
  if (policy.MaximumRetryCount !== 0 && policy.Name !== "on-failure") {
    throw invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'");
  }
  if (policy.MaximumRetryCount < 0) {
    throw invalid("invalid restart policy: maximum retry count cannot be negative");
  }
  if (given.AutoRemove && policy.Name !== "no") {
    throw invalid("can't create 'AutoRemove' container with restart policy");
  }
  return policy;
}

function checkMemory(
  hostConfig: HostConfig,
  limits: HostLimits,
  warnings: string[],
  { update = false }: { update?: boolean } = {},
): void {
  const memory = hostConfig.Memory ?? 0;
  const swap = hostConfig.MemorySwap ?? 0;
  const reservation = hostConfig.MemoryReservation ?? 0;
  if (memory < 0 || (memory !== 0 && memory < MIN_MEMORY))
    throw invalid("Minimum memory limit allowed is 6MB");
  if (memory > 0 && swap > 0 && swap < memory) {
    throw invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
  }
  if (memory === 0 && swap > 0 && !update) {
    throw invalid("You should always set the Memory limit when using Memoryswap limit, see usage");
  }
  if (reservation > 0 && reservation < MIN_MEMORY) {
    throw invalid("Minimum memory reservation allowed is 6MB");
  }
  if (memory > 0 && reservation > memory) {
    throw invalid("Minimum memory limit can not be less than memory reservation limit, see usage");
  }
  if (memory > 0 && !limits.swapLimit) {
    if (swap > 0) {
      warnings.push(
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
      );
    }
    hostConfig.MemorySwap = -1;
  } else if (memory > 0 && swap === 0 && !update) {
    // As much swap again as memory, like dockerd.
    hostConfig.MemorySwap = memory * 2;
  }
  if (hostConfig.KernelMemoryTCP && limits.cgroupVersion === 2) {
    warnings.push("Your kernel does not support kernel memory TCP limit. Kernel memory TCP limit discarded.");
    delete hostConfig.KernelMemoryTCP;
  }
  const swappiness = hostConfig.MemorySwappiness;
  if (swappiness != null && swappiness !== -1 && (swappiness < 0 || swappiness > 100)) {
    throw invalid(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
}

function checkOutOfMemory(hostConfig: HostConfig, limits: HostLimits, warnings: string[]): void {
  if (!hostConfig.OomKillDisable) return;
  if (limits.cgroupVersion === 2) {
    warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
    hostConfig.OomKillDisable = null;
  } else if (!hostConfig.Memory) {
    warnings.push(
      "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.",
    );
  }
}

function checkWeights(hostConfig: HostConfig, limits: HostLimits, warnings: string[]): void {
  const unsupported = (what: string, discarded: string) =>
    `Your kernel does not support Block I/O ${what} or the cgroup is not mounted. ${discarded} discarded.`;
  if (!limits.blkioWeight) {
    if (hostConfig.BlkioWeight) {
      warnings.push(unsupported("weight", "Weight"));
      hostConfig.BlkioWeight = 0;
    }
    if (hostConfig.BlkioWeightDevice?.length) {
      warnings.push(unsupported("weight_device", "Weight-device"));
      hostConfig.BlkioWeightDevice = [];
    }
  }
  const weight = hostConfig.BlkioWeight ?? 0;
  if (weight !== 0 && (weight < 10 || weight > 1000)) {
    throw invalid("Range of blkio weight is from 10 to 1000");
  }
}

function checkCpu(hostConfig: HostConfig, limits: HostLimits): void {
  const nano = hostConfig.NanoCpus ?? 0;
  const period = hostConfig.CpuPeriod ?? 0;
  const quota = hostConfig.CpuQuota ?? 0;
  if (nano > 0 && period > 0)
    throw invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set");
  if (nano > 0 && quota > 0) throw invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
  if (nano < 0 || nano > limits.cpus * 1e9) {
    throw invalid(
      `Range of CPUs is from 0.01 to ${limits.cpus}.00, as there are only ${limits.cpus} CPUs available`,
    );
  }
  if (period !== 0 && (period < CFS.minPeriod || period > CFS.maxPeriod)) {
    throw invalid("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
  }
  if (quota > 0 && quota < CFS.minQuota) {
    throw invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)");
  }
  const cpus = limits.cpus > 1 ? `0-${limits.cpus - 1}` : "0";
  for (const [list, name, what, available] of [
    [hostConfig.CpusetCpus, "cpuset cpus", "CPUs", cpus],
    [hostConfig.CpusetMems, "cpuset mems", "memory nodes", limits.memoryNodes],
  ] as const) {
    if (!list) continue;
    if (!isIndexList(list)) throw invalid(`Invalid value ${list} for ${name}: invalid format: ${list}`);
    if (largestIndex(list) > largestIndex(available)) {
      throw invalid(`Requested ${what} are not available - requested ${list}, available: ${available}`);
    }
  }
}

function checkNumbers(hostConfig: HostConfig): void {
  const score = hostConfig.OomScoreAdj ?? 0;
  if (score < -1000 || score > 1000) {
    throw invalid(`Invalid value ${score}, range for oom score adj is [-1000, 1000]`);
  }
  for (const name of Object.keys(hostConfig.Sysctls ?? {})) {
    if (!isNamespacedSysctl(name)) {
      throw invalid(
        `sysctl '${name}' is not allowed`,
        "only sysctls of the container's own namespaces can be set",
      );
    }
  }
}

/** Sysctls that belong to the ipc, uts and network namespaces (kernel Documentation/admin-guide/sysctl). */
function isNamespacedSysctl(name: string): boolean {
  return (
    /^net\./.test(name) ||
    /^fs\.mqueue\./.test(name) ||
    /^kernel\.(msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced|domainname)$/.test(name)
  );
}

/** "0-2,4": bounded so that a huge range costs nothing. */
function isIndexList(list: string): boolean {
  return list.split(",").every((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return /^\d{1,5}(-\d{1,5})?$/.test(range) && first <= last;
  });
}

function largestIndex(list: string): number {
  // Not Math.max of all: a call takes only so many arguments.
  return list.split(/[,-]/).reduce((largest, index) => Math.max(largest, Number(index)), 0);
}

function invalid(message: string, hint?: string): BerthError {
  return new BerthError("invalid", message, {
    operation: "create container",
    ...(hint === undefined ? {} : { hint }),
  });
}
