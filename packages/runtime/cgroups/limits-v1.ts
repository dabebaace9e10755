/**
 * Resources of a container as files of version 1 control groups. Pure: a list of what to write where, in an order the
 * kernel accepts for a new group. (kernel Documentation/admin-guide/cgroup-v1)
 */
import type { SpecDeviceRule, SpecResources } from "#runtime/spec-types.ts";

export interface CgroupWrite {
  controller: string;
  file: string;
  value: string;
  /** Not every kernel has the file; do without. */
  optional?: boolean;
}

/** Writes for a new group. Controllers the host lacks are the caller's to leave out. */
export function limitsV1(resources: SpecResources): CgroupWrite[] {
  return [
    ...devices(resources.devices ?? []),
    ...cpu(resources.cpu ?? {}),
    ...memory(resources.memory ?? {}),
    ...pids(resources.pids),
    ...blockIo(resources.blockIO ?? {}),
    ...other(resources),
  ];
}

function write(controller: string, file: string, value: string | number | bigint | undefined): CgroupWrite[] {
  if (value === undefined || value === "" || value === 0) return [];
  return [{ controller, file: `${controller}.${file}`, value: String(value) }];
}

function cpu(limits: NonNullable<SpecResources["cpu"]>): CgroupWrite[] {
  return [
    ...write("cpuset", "cpus", limits.cpus),
    ...write("cpuset", "mems", limits.mems),
    ...write("cpu", "shares", limits.shares),
    // The period first: a quota is checked against it.
    ...write("cpu", "cfs_period_us", limits.period),
    ...write("cpu", "cfs_quota_us", limits.quota),
    ...write("cpu", "cfs_burst_us", limits.burst),
    ...write("cpu", "rt_period_us", limits.realtimePeriod),
    ...write("cpu", "rt_runtime_us", limits.realtimeRuntime),
    ...write("cpu", "idle", limits.idle),
  ];
}

function memory(limits: NonNullable<SpecResources["memory"]>): CgroupWrite[] {
  return [
    // Memory before memory and swap together: the sum must never be below its part.
    ...write("memory", "limit_in_bytes", limits.limit),
    ...write("memory", "memsw.limit_in_bytes", limits.swap),
    ...write("memory", "soft_limit_in_bytes", limits.reservation),
    ...write("memory", "kmem.tcp.limit_in_bytes", limits.kernelTCP),
    ...(limits.swappiness === undefined || limits.swappiness < 0
      ? []
      : [{ controller: "memory", file: "memory.swappiness", value: String(limits.swappiness) }]),
    ...(limits.disableOOMKiller ? write("memory", "oom_control", 1) : []),
  ];
}

function pids(limits: SpecResources["pids"]): CgroupWrite[] {
  return limits !== undefined && limits.limit > 0 ? write("pids", "max", limits.limit) : [];
}

function blockIo(limits: NonNullable<SpecResources["blockIO"]>): CgroupWrite[] {
  const throttle = (file: string, devices: NonNullable<typeof limits.throttleReadBpsDevice> = []) =>
    devices.flatMap(({ major, minor, rate }) =>
      write("blkio", `throttle.${file}`, `${major}:${minor} ${rate}`),
    );
  // Which of the two files there is depends on the I/O scheduler built in.
  const weights = ["bfq.weight", "weight"].flatMap((file) => write("blkio", file, limits.weight));
  const deviceWeights = (limits.weightDevice ?? []).flatMap(({ major, minor, weight }) =>
    ["bfq.weight_device", "weight_device"].flatMap((file) =>
      weight === undefined ? [] : write("blkio", file, `${major}:${minor} ${weight}`),
    ),
  );
  return [
    ...[...weights, ...deviceWeights].map((entry) => ({ ...entry, optional: true })),
    ...throttle("read_bps_device", limits.throttleReadBpsDevice),
    ...throttle("write_bps_device", limits.throttleWriteBpsDevice),
    ...throttle("read_iops_device", limits.throttleReadIOPSDevice),
    ...throttle("write_iops_device", limits.throttleWriteIOPSDevice),
  ];
}

function other({ hugepageLimits = [], network = {} }: SpecResources): CgroupWrite[] {
  return [
    ...hugepageLimits.flatMap(({ pageSize, limit }) =>
      write("hugetlb", `${pageSize}.limit_in_bytes`, String(limit)),
    ),
    ...write("net_cls", "classid", network.classID),
    ...(network.priorities ?? []).flatMap(({ name, priority }) =>
      write("net_prio", "ifpriomap", `${name} ${priority}`),
    ),
  ];
}

function devices(rules: readonly SpecDeviceRule[]): CgroupWrite[] {
  return rules.map((rule) => ({
    controller: "devices",
    file: rule.allow ? "devices.allow" : "devices.deny",
    value: deviceRule(rule),
  }));
}

/** "c 1:3 rwm"; a rule for everything is the single letter the kernel wants for it. */
export function deviceRule({ type = "a", major, minor, access = "rwm" }: SpecDeviceRule): string {
  if (type === "a") return "a";
  const number = (value: number | undefined) => (value === undefined || value < 0 ? "*" : String(value));
  return `${type} ${number(major)}:${number(minor)} ${access}`;
}
