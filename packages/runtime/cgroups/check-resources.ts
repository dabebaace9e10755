/**
 * `linux.resources` before anything is made of it: what the kernel would refuse, or what this host has no controller
 * for, is said here with the name of the field. Pure.
 *
 * The daemon has its own checks with Docker's words, and discards with a warning what the host cannot do; this one is
 * for the command line, whose configuration has to be taken at its word.
 */
import { BerthError } from "#errors/errors.ts";
import { type CgroupOwner, cgroupDirectories, placementOf } from "#runtime/cgroups/container-cgroup.ts";
import type { CgroupLayout } from "#runtime/launch-types.ts";
import type { SpecDeviceRule, SpecResources } from "#runtime/spec-types.ts";

/** Kernel limits: kernel/sched/core.c (shares, period, quota), block/blk-cgroup and bfq (weights). */
const SHARES = { least: 2, most: 262_144 };
const PERIOD_US = { least: 1000, most: 1_000_000 };
const LEAST_QUOTA_US = 1000;
const WEIGHT = { least: 10, most: 1000 };
const LARGEST_U32 = 0xffff_ffff;

type Checked<Key extends keyof SpecResources> = NonNullable<SpecResources[Key]>;

/** Throws "invalid", naming the field, for resources that these groups cannot be given. */
export function checkResources(
  resources: SpecResources | undefined,
  layout: CgroupLayout,
  owner: CgroupOwner,
): void {
  if (resources === undefined || resources === null) return;
  if (typeof resources !== "object") throw refuse("", "is not an object");
  const available = new Set(cgroupDirectories(layout, owner).flatMap(({ controllers }) => controllers));
  const host: Host = { version: layout.version, available };
  const { cpu, memory, pids, blockIO, network, hugepageLimits, rdma, unified, devices } = resources;
  if (cpu) checkCpu(cpu, host);
  if (memory) checkMemory(memory, host);
  if (pids) {
    number("pids.limit", pids.limit, { least: -1 });
    if (pids.limit) need("pids.limit", "pids", host);
  }
  if (blockIO) checkBlockIo(blockIO, host);
  if (network) checkNetwork(network, host);
  (hugepageLimits ?? []).forEach((limit, index) => {
    checkHugePages(limit, `hugepageLimits[${index}]`, host);
  });
  if (rdma) checkRdma(rdma, host);
  if (unified) checkUnified(unified, host);
  (devices ?? []).forEach(checkDevice);
  if (devices?.length && host.version === 1 && !placementOf(owner)?.rootless)
    need("devices", "devices", host);
}

interface Host {
  version: 1 | 2;
  available: ReadonlySet<string>;
}

function checkCpu(cpu: Checked<"cpu">, host: Host): void {
  const { shares, quota, period, burst, idle, cpus, mems, realtimePeriod, realtimeRuntime } = cpu;
  number("cpu.shares", shares, { least: 0 });
  if (shares && host.version === 1) {
    if (shares < SHARES.least)
      throw refuse("cpu.shares", `the minimum allowed cpu-shares is ${SHARES.least}`);
    if (shares > SHARES.most) throw refuse("cpu.shares", `the maximum allowed cpu-shares is ${SHARES.most}`);
  }
  number("cpu.quota", quota, { least: -1 });
  if (quota && quota > 0 && quota < LEAST_QUOTA_US) {
    throw refuse("cpu.quota", `${quota} is below the ${LEAST_QUOTA_US} µs the kernel takes at least`);
  }
  number("cpu.period", period, { least: 0 });
  if (period) number("cpu.period", period, PERIOD_US);
  number("cpu.burst", burst, { least: 0 });
  if (burst && quota && quota > 0 && burst > quota) {
    throw refuse("cpu.burst", `${burst} is above the quota of ${quota}`);
  }
  number("cpu.idle", idle, { least: 0, most: 1 });
  number("cpu.realtimePeriod", realtimePeriod, { least: 0 });
  number("cpu.realtimeRuntime", realtimeRuntime, { least: -1 });
  if (realtimePeriod && realtimeRuntime && realtimeRuntime > realtimePeriod) {
    throw refuse("cpu.realtimeRuntime", `${realtimeRuntime} is above the period of ${realtimePeriod}`);
  }
  list("cpu.cpus", cpus);
  list("cpu.mems", mems);
  if (shares || quota || period || burst || idle) need("cpu", "cpu", host);
  if (cpus) need("cpu.cpus", "cpuset", host);
  if (mems) need("cpu.mems", "cpuset", host);
  if (realtimePeriod) onlyV1("cpu.realtimePeriod", "cpu", host);
  if (realtimeRuntime) onlyV1("cpu.realtimeRuntime", "cpu", host);
}

function checkMemory(memory: Checked<"memory">, host: Host): void {
  const { limit = 0, swap = 0, swappiness } = memory;
  for (const key of ["limit", "reservation", "swap", "kernel", "kernelTCP"] as const) {
    number(`memory.${key}`, memory[key], { least: -1 });
    if (memory[key] && key !== "kernel" && (host.version === 1 || key !== "kernelTCP"))
      need(`memory.${key}`, "memory", host);
  }
  if (swap > 0 && limit <= 0) {
    throw refuse(
      "memory.swap",
      "a limit of memory and swap together needs a limit of memory (memory.limit) as well",
    );
  }
  if (swap > 0 && swap < limit) {
    throw refuse(
      "memory.swap",
      `memory and swap together (${swap}) cannot be below memory (memory.limit, ${limit})`,
    );
  }
  // -1 says nothing, as an unsigned number it does the same.
  if (swappiness !== undefined && swappiness !== null && swappiness !== -1) {
    number("memory.swappiness", swappiness, { least: 0, most: 100 });
    onlyV1("memory.swappiness", "memory", host);
  }
  if (memory.disableOOMKiller) onlyV1("memory.disableOOMKiller", "memory", host);
}

function checkBlockIo(blockIO: Checked<"blockIO">, host: Host): void {
  const controller = host.version === 1 ? "blkio" : "io";
  const weight = (field: string, value: number | undefined) => {
    if (!value) return;
    number(field, value, WEIGHT);
    need(field, controller, host);
  };
  weight("blockIO.weight", blockIO.weight);
  weight("blockIO.leafWeight", blockIO.leafWeight);
  if (blockIO.leafWeight) onlyV1("blockIO.leafWeight", "blkio", host);
  (blockIO.weightDevice ?? []).forEach((device, index) => {
    const field = `blockIO.weightDevice[${index}]`;
    numbers(field, device);
    weight(`${field}.weight`, device.weight);
    weight(`${field}.leafWeight`, device.leafWeight);
    if (device.leafWeight) onlyV1(`${field}.leafWeight`, "blkio", host);
  });
  for (const key of [
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
  ] as const) {
    (blockIO[key] ?? []).forEach((device, index) => {
      const field = `blockIO.${key}[${index}]`;
      numbers(field, device);
      number(`${field}.rate`, device.rate, { least: 0 });
      need(field, controller, host);
    });
  }
}

function numbers(field: string, { major, minor }: { major: number; minor: number }): void {
  for (const [name, value] of Object.entries({ major, minor })) {
    if (value === undefined) throw refuse(`${field}.${name}`, "is missing");
    number(`${field}.${name}`, value, { least: 0, most: LARGEST_U32 });
  }
}

function checkNetwork({ classID, priorities }: Checked<"network">, host: Host): void {
  number("network.classID", classID, { least: 0, most: LARGEST_U32 });
  if (classID) onlyV1("network.classID", "net_cls", host);
  (priorities ?? []).forEach(({ name, priority }, index) => {
    const field = `network.priorities[${index}]`;
    if (typeof name !== "string" || !/^[^\s/]{1,15}$/.test(name))
      throw refuse(`${field}.name`, `${JSON.stringify(name)} is no interface`);
    number(`${field}.priority`, priority, { least: 0, most: LARGEST_U32 });
    onlyV1(field, "net_prio", host);
  });
}

function checkHugePages(
  { pageSize, limit }: Checked<"hugepageLimits">[number],
  field: string,
  host: Host,
): void {
  if (!/^[1-9]\d*[KMG]B$/.test(pageSize ?? "")) {
    throw refuse(`${field}.pageSize`, `${JSON.stringify(pageSize)} is no size such as 2MB or 1GB`);
  }
  number(`${field}.limit`, limit, { least: 0 });
  need(field, "hugetlb", host);
}

function checkRdma(rdma: Checked<"rdma">, host: Host): void {
  for (const [device, { hcaHandles, hcaObjects }] of Object.entries(rdma)) {
    const field = `rdma[${JSON.stringify(device)}]`;
    if (!/^\S+$/.test(device)) throw refuse(field, "is no device name");
    number(`${field}.hcaHandles`, hcaHandles, { least: 0, most: LARGEST_U32 });
    number(`${field}.hcaObjects`, hcaObjects, { least: 0, most: LARGEST_U32 });
    need(field, "rdma", host);
  }
}

function checkUnified(unified: Record<string, string>, host: Host): void {
  if (host.version === 1 && Object.keys(unified).length > 0) {
    throw refuse(
      "unified",
      "cannot use unified on cgroup v1: it names files of control groups of version 2, which this host has not",
    );
  }
  for (const [file, value] of Object.entries(unified)) {
    const field = `unified[${JSON.stringify(file)}]`;
    if (file.includes("/")) throw refuse(field, "must be a file name (no slashes)");
    if (!/^[a-z0-9_]+\.[A-Za-z0-9_.]+$/.test(file)) {
      throw refuse(field, "must be in the form CONTROLLER.PARAMETER");
    }
    if (typeof value !== "string") throw refuse(field, "is not a text");
    const controller = file.slice(0, file.indexOf("."));
    if (controller === "cgroup") continue;
    if (!host.available.has(controller))
      throw refuse(field, `can't be set: controller "${controller}" not available`);
  }
}

function checkDevice(rule: SpecDeviceRule, index: number): void {
  const field = `devices[${index}]`;
  if (typeof rule.allow !== "boolean") throw refuse(`${field}.allow`, "is neither true nor false");
  if (!["a", "b", "c", "u", "", undefined, null].includes(rule.type)) {
    throw refuse(`${field}.type`, `${JSON.stringify(rule.type)} is none of a, b, c`);
  }
  if (!/^[rwm]{0,3}$/.test(rule.access ?? "")) {
    throw refuse(`${field}.access`, `${JSON.stringify(rule.access)} is not made of r, w and m`);
  }
  number(`${field}.major`, rule.major, { least: -1, most: LARGEST_U32 });
  number(`${field}.minor`, rule.minor, { least: -1, most: LARGEST_U32 });
}

/** "0-3,7", "" for nothing. */
function list(field: string, text: string | undefined | null): void {
  if (text === undefined || text === null || text === "") return;
  const wrong = () => refuse(field, `${JSON.stringify(text)} is no list such as 0-3,7`);
  if (typeof text !== "string") throw wrong();
  for (const part of text.trim().split(",")) {
    const [, from, to] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    if (from === undefined || (to !== undefined && Number(to) < Number(from))) throw wrong();
  }
}

function number(
  field: string,
  value: unknown,
  { least, most = Number.POSITIVE_INFINITY }: { least: number; most?: number },
): void {
  if (value === undefined || value === null) return;
  if (typeof value !== "number" || !Number.isInteger(value)) {
    throw refuse(field, `${JSON.stringify(value)} is not an integer`);
  }
  if (value >= least && value <= most) return;
  const range = most === Number.POSITIVE_INFINITY ? `${least} or more` : `${least} to ${most}`;
  throw refuse(field, `${value} is not ${range}`);
}

function need(field: string, controller: string, { version, available }: Host): void {
  if (available.has(controller)) return;
  throw refuse(
    field,
    `there is no ${controller} controller here to set it with`,
    version === 1
      ? `mount one: mount -t cgroup -o ${controller} none /sys/fs/cgroup/${controller}`
      : "see cgroup.controllers and cgroup.subtree_control of the groups above the container's",
  );
}

function onlyV1(field: string, controller: string, host: Host): void {
  if (host.version === 2) throw refuse(field, "control groups of version 2 have no such limit");
  need(field, controller, host);
}

function refuse(field: string, why: string, hint?: string): BerthError {
  return new BerthError("invalid", `linux.resources${field && `.${field}`}: ${why}`, {
    operation: "check resource limits",
    ...(hint !== undefined && { hint }),
  });
}
