/**
 * Resources of a container as files of a version 2 control group. Pure. The OCI configuration speaks version 1; the
 * conversions are those container runtimes agree on. (kernel Documentation/admin-guide/cgroup-v2.rst)
 *
 * Devices are not files here but a BPF program: device-filter.ts. What has no counterpart is left out here, and refused
 * beforehand where that matters (check-resources.ts).
 */
import { BerthError } from "#errors/errors.ts";
import { type CgroupWrite, decimal, orMax, unlessZero, write } from "#runtime/cgroups/cgroup-write.ts";
import { rdmaLimits } from "#runtime/cgroups/limits-v1.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

type Cpu = NonNullable<SpecResources["cpu"]>;
type Memory = NonNullable<SpecResources["memory"]>;
type BlockIo = NonNullable<SpecResources["blockIO"]>;

/** Writes for a new group, or for one that has limits already. Throws "invalid" for what version 2 cannot do. */
export function limitsV2(resources: SpecResources, { running = false } = {}): CgroupWrite[] {
  return [
    ...cpu(resources.cpu ?? {}, running),
    ...memory(resources.memory ?? {}),
    ...write("pids", "max", orMax(resources.pids?.limit)),
    ...blockIo(resources.blockIO ?? {}),
    ...(resources.hugepageLimits ?? []).flatMap(({ pageSize, limit }) => [
      ...write("hugetlb", `${pageSize}.max`, limit),
      ...write("hugetlb", `${pageSize}.rsvd.max`, limit, { optional: true }),
    ]),
    ...rdmaLimits(resources.rdma),
    ...Object.entries(resources.unified ?? {}).flatMap(([file, value]) => unified(file, value)),
  ];
}

/** A file named outright; a value of several lines (as for io.max) is that many writes. */
function unified(file: string, value: string): CgroupWrite[] {
  if (!/^[a-z0-9_]+\.[A-Za-z0-9_.]+$/.test(file)) {
    throw new BerthError("invalid", `invalid unified resource: ${JSON.stringify(file)}`, {
      operation: "set resource limits",
      hint: "linux.resources.unified names files of the group, such as memory.high",
    });
  }
  const controller = file.slice(0, file.indexOf("."));
  const lines = value.split("\n").filter((line) => line.trim() !== "");
  return (lines.length === 0 ? [value] : lines).map((line) => ({ controller, file, value: line.trim() }));
}

function cpu(limits: Cpu, running: boolean): CgroupWrite[] {
  const { shares, idle } = limits;
  return [
    ...write("cpuset", "cpus", limits.cpus),
    ...write("cpuset", "mems", limits.mems),
    // A group that is idle has no weight of its own, and the kernel refuses one.
    ...write("cpu", "idle", idle, { optional: idle === 0 }),
    ...write("cpu", "weight", shares && idle !== 1 ? weightFromShares(shares) : undefined),
    ...bandwidth(limits, running),
  ];
}

/** Burst is checked against the quota, and a new quota against an old burst. */
function bandwidth({ quota, period, burst }: Cpu, running: boolean): CgroupWrite[] {
  const text = `${quota && quota > 0 ? decimal(quota) : "max"}${period ? ` ${decimal(period)}` : ""}`;
  const max = write("cpu", "max", quota || period ? text : undefined);
  const bursts = write("cpu", "max.burst", burst, { optional: burst === 0 });
  const tried = running && max.length > 0 ? bursts.map((entry) => ({ ...entry, again: true })) : [];
  return [...tried, ...max, ...bursts];
}

/**
 * cpu.shares (2 … 262144, usually 1024) as cpu.weight (1 … 10000, usually 100): the exponential curve through the three
 * pairs of lowest, usual and highest values, on which runtimes settled in 2025.
 */
export function weightFromShares(shares: number): number {
  if (shares <= 2) return 1;
  if (shares >= 262_144) return 10_000;
  const log = Math.log2(shares);
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

function memory(limits: Memory): CgroupWrite[] {
  const swap = swapMax(limits.limit ?? 0, limits.swap ?? 0);
  return [
    // Where the kernel doesn't count swap there is none to keep from anybody, or to allow.
    ...write("memory", "swap.max", swap, swap === "0" || swap === "max" ? { optional: true } : {}),
    ...write("memory", "max", orMax(limits.limit)),
    ...write("memory", "low", orMax(limits.reservation)),
  ];
}

/** Version 1 limits memory and swap together, version 2 swap alone. Memory without limit takes swap along. */
function swapMax(limit: number, swap: number): string | undefined {
  if (swap === 0) return limit < 0 ? "max" : undefined;
  if (swap < 0 || limit < 0) return "max";
  if (limit === 0 || swap < limit) {
    throw new BerthError(
      "invalid",
      `linux.resources.memory.swap: memory and swap together (${swap}) below memory (${limit})`,
      {
        operation: "set resource limits",
        hint: "a limit of memory and swap needs a limit of memory that is not above it",
      },
    );
  }
  return decimal(swap - limit);
}

function blockIo(limits: BlockIo): CgroupWrite[] {
  const max = (key: string, devices: BlockIo["throttleReadBpsDevice"]) =>
    (devices ?? []).flatMap(({ major, minor, rate }) =>
      write("io", "max", `${major}:${minor} ${key}=${rate}`),
    );
  const weight = unlessZero(limits.weight);
  return [
    // The scheduler's own weights where there is one that has them, else those of the cost model.
    ...write("io", "bfq.weight", weight, { optional: true }),
    ...write("io", "weight", weight === undefined ? undefined : `default ${weightFromBlkio(weight)}`, {
      unless: "io.bfq.weight",
    }),
    ...(limits.weightDevice ?? []).flatMap(({ major, minor, weight: own }) => [
      ...write("io", "bfq.weight", own ? `${major}:${minor} ${own}` : undefined, { optional: true }),
      ...write("io", "weight", own ? `${major}:${minor} ${weightFromBlkio(own)}` : undefined, {
        unless: "io.bfq.weight",
      }),
    ]),
    ...max("rbps", limits.throttleReadBpsDevice),
    ...max("wbps", limits.throttleWriteBpsDevice),
    ...max("riops", limits.throttleReadIOPSDevice),
    ...max("wiops", limits.throttleWriteIOPSDevice),
  ];
}

/** blkio.weight (10 … 1000) as io.weight (1 … 10000), linear. */
export function weightFromBlkio(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}
