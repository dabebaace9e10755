/**
 * Resources of a container as files of version 1 control groups. Pure: a list of what to write where, in an order the
 * kernel accepts. (kernel Documentation/admin-guide/cgroup-v1)
 *
 * What was a limit once and is none any more is left out, as runtimes have agreed: kernel memory.
 */
import { type CgroupWrite, unlessZero, write } from "#runtime/cgroups/cgroup-write.ts";
import type { SpecDeviceRule, SpecResources } from "#runtime/spec-types.ts";

export type { CgroupWrite } from "#runtime/cgroups/cgroup-write.ts";

type Cpu = NonNullable<SpecResources["cpu"]>;
type Memory = NonNullable<SpecResources["memory"]>;
type BlockIo = NonNullable<SpecResources["blockIO"]>;

/** Writes for a new group, or for one that has limits already. Controllers the host lacks are the caller's to leave out. */
export function limitsV1(resources: SpecResources, { running = false } = {}): CgroupWrite[] {
  return [
    ...devices(resources.devices ?? []),
    ...cpu(resources.cpu ?? {}, running),
    ...memory(resources.memory ?? {}, running),
    ...pids(resources.pids),
    ...blockIo(resources.blockIO ?? {}),
    ...other(resources),
  ];
}

function cpu(limits: Cpu, running: boolean): CgroupWrite[] {
  const { shares, idle } = limits;
  return [
    ...write("cpuset", "cpus", limits.cpus),
    ...write("cpuset", "mems", limits.mems),
    // A group that is idle has no weight of its own, and the kernel refuses one.
    ...write("cpu", "idle", idle, { optional: idle === 0 }),
    ...write("cpu", "shares", idle === 1 ? undefined : unlessZero(shares)),
    ...bandwidth(limits, running),
    ...write("cpu", "rt_period_us", unlessZero(limits.realtimePeriod)),
    ...write("cpu", "rt_runtime_us", unlessZero(limits.realtimeRuntime)),
  ];
}

/**
 * The period first: a quota is checked against it, and burst against both. Where there are old values, each may be
 * refused because of another that is yet to come; so they are tried, and written again once the quota is there.
 */
function bandwidth(limits: Cpu, running: boolean): CgroupWrite[] {
  const quota = write("cpu", "cfs_quota_us", unlessZero(limits.quota));
  const period = write("cpu", "cfs_period_us", unlessZero(limits.period));
  const burst = write("cpu", "cfs_burst_us", limits.burst, { optional: limits.burst === 0 });
  if (!running || quota.length === 0) return [...period, ...quota, ...burst];
  const tried = [...period, ...burst].map((entry) => ({ ...entry, again: true }));
  return [...tried, ...quota, ...period, ...burst];
}

function memory(limits: Memory, running: boolean): CgroupWrite[] {
  const { limit, swap, swappiness } = limits;
  const unlimited = limit === -1 && !swap;
  const both = unlimited
    ? write("memory", "memsw.limit_in_bytes", -1, { optional: true })
    : write("memory", "memsw.limit_in_bytes", unlessZero(swap));
  // The sum must never be below its part: it is raised before the part and lowered after it.
  const tried = running ? both.map((entry) => ({ ...entry, again: true })) : [];
  return [
    ...tried,
    ...write("memory", "limit_in_bytes", unlessZero(limit)),
    ...both,
    ...write("memory", "soft_limit_in_bytes", unlessZero(limits.reservation)),
    ...write("memory", "kmem.tcp.limit_in_bytes", unlessZero(limits.kernelTCP)),
    ...write("memory", "swappiness", swappiness === -1 ? undefined : swappiness),
    ...write("memory", "oom_control", limits.disableOOMKiller ? 1 : undefined),
  ];
}

function pids(limits: SpecResources["pids"]): CgroupWrite[] {
  const limit = unlessZero(limits?.limit);
  return write("pids", "max", limit !== undefined && limit < 0 ? "max" : limit);
}

function blockIo(limits: BlockIo): CgroupWrite[] {
  // Which of the two files there is depends on the I/O scheduler built in.
  const weight = (file: string, value: string | number | undefined) => [
    ...write("blkio", file, value, { optional: true }),
    ...write("blkio", `bfq.${file}`, value, { unless: `blkio.${file}` }),
  ];
  return [
    ...weight("weight", unlessZero(limits.weight)),
    ...write("blkio", "leaf_weight", unlessZero(limits.leafWeight)),
    ...(limits.weightDevice ?? []).flatMap(({ major, minor, weight: own, leafWeight }) => [
      ...weight("weight_device", own ? `${major}:${minor} ${own}` : undefined),
      ...write("blkio", "leaf_weight_device", leafWeight ? `${major}:${minor} ${leafWeight}` : undefined),
    ]),
    ...throttle("read_bps_device", limits.throttleReadBpsDevice),
    ...throttle("write_bps_device", limits.throttleWriteBpsDevice),
    ...throttle("read_iops_device", limits.throttleReadIOPSDevice),
    ...throttle("write_iops_device", limits.throttleWriteIOPSDevice),
  ];
}

function throttle(file: string, devices: BlockIo["throttleReadBpsDevice"]): CgroupWrite[] {
  return (devices ?? []).flatMap(({ major, minor, rate }) =>
    write("blkio", `throttle.${file}`, `${major}:${minor} ${rate}`),
  );
}

function other({ hugepageLimits, network, rdma }: SpecResources): CgroupWrite[] {
  return [
    ...(hugepageLimits ?? []).flatMap(({ pageSize, limit }) => [
      ...write("hugetlb", `${pageSize}.limit_in_bytes`, limit),
      ...write("hugetlb", `${pageSize}.rsvd.limit_in_bytes`, limit, { optional: true }),
    ]),
    ...write("net_cls", "classid", unlessZero(network?.classID)),
    ...(network?.priorities ?? []).flatMap(({ name, priority }) =>
      write("net_prio", "ifpriomap", `${name} ${priority}`),
    ),
    ...rdmaLimits(rdma),
  ];
}

/** The same in both versions: "mlx5_0 hca_handle=2 hca_object=2000". */
export function rdmaLimits(limits: SpecResources["rdma"]): CgroupWrite[] {
  return Object.entries(limits ?? {}).flatMap(([device, { hcaHandles, hcaObjects }]) => {
    const parts = [
      ...(hcaHandles === undefined ? [] : [`hca_handle=${hcaHandles}`]),
      ...(hcaObjects === undefined ? [] : [`hca_object=${hcaObjects}`]),
    ];
    return parts.length === 0 ? [] : write("rdma", "max", [device, ...parts].join(" "));
  });
}

function devices(rules: readonly SpecDeviceRule[]): CgroupWrite[] {
  return rules.flatMap((rule) =>
    deviceRules(rule).map((value) => ({
      controller: "devices",
      file: rule.allow ? "devices.allow" : "devices.deny",
      value,
    })),
  );
}

/**
 * "c 1:3 rwm". A rule for everything is the single letter the kernel has for that; one for all types that is narrower
 * in another way is one for each type.
 */
export function deviceRules({ type = "a", major, minor, access }: SpecDeviceRule): string[] {
  const number = (value: number | undefined | null) =>
    value === undefined || value === null || value < 0 ? "*" : String(value);
  const letters = access || "rwm";
  const where = `${number(major)}:${number(minor)} ${letters}`;
  if (type !== "a" && type !== "") return [`${type === "u" ? "c" : type} ${where}`];
  const all = ["r", "w", "m"].every((letter) => letters.includes(letter));
  return all && where.startsWith("*:* ") ? ["a"] : [`b ${where}`, `c ${where}`];
}
