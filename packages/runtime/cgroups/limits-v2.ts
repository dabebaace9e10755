/**
 * Resources of a container as files of a version 2 control group. Pure. The OCI configuration speaks version 1; the
 * conversions are those container runtimes agree on. (kernel Documentation/admin-guide/cgroup-v2.rst)
 *
 * Devices are not files here but a BPF program: device-filter.ts.
 */
import { BerthError } from "#errors/errors.ts";
import type { CgroupWrite } from "#runtime/cgroups/limits-v1.ts";
import type { SpecResources } from "#runtime/spec-types.ts";

/** Writes for a new group. Throws "invalid" for what version 2 cannot do. */
export function limitsV2(resources: SpecResources): CgroupWrite[] {
  return [
    ...cpu(resources.cpu ?? {}),
    ...memory(resources.memory ?? {}),
    ...pids(resources.pids),
    ...blockIo(resources.blockIO ?? {}),
    ...(resources.hugepageLimits ?? []).map(({ pageSize, limit }) => ({
      controller: "hugetlb",
      file: `hugetlb.${pageSize}.max`,
      value: String(limit),
    })),
    ...Object.entries(resources.unified ?? {}).map(([file, value]) => unified(file, value)),
  ];
}

function unified(file: string, value: string): CgroupWrite {
  if (!/^[a-z0-9_]+\.[A-Za-z0-9_.]+$/.test(file)) {
    throw new BerthError("invalid", `invalid unified resource: ${JSON.stringify(file)}`, {
      operation: "set resource limits",
    });
  }
  return { controller: file.slice(0, file.indexOf(".")), file, value };
}

function write(controller: string, file: string, value: string | number | undefined): CgroupWrite[] {
  if (value === undefined || value === "") return [];
  return [{ controller, file: `${controller}.${file}`, value: String(value) }];
}

/** -1 is "no limit" in the configuration, "max" in the files. */
const orMax = (value: number): string => (value < 0 ? "max" : String(value));

function cpu(limits: NonNullable<SpecResources["cpu"]>): CgroupWrite[] {
  const { shares, quota = 0, period = 0 } = limits;
  const max = `${quota > 0 ? quota : "max"}${period > 0 ? ` ${period}` : ""}`;
  return [
    ...write("cpuset", "cpus", limits.cpus),
    ...write("cpuset", "mems", limits.mems),
    ...write("cpu", "weight", shares ? weightFromShares(shares) : undefined),
    ...write("cpu", "max", quota !== 0 || period !== 0 ? max : undefined),
    ...write("cpu", "max.burst", limits.burst || undefined),
    ...write("cpu", "idle", limits.idle || undefined),
  ];
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

function memory(limits: NonNullable<SpecResources["memory"]>): CgroupWrite[] {
  const { limit = 0, swap = 0, reservation = 0 } = limits;
  return [
    ...write("memory", "max", limit !== 0 ? orMax(limit) : undefined),
    ...write("memory", "swap.max", swapMax(limit, swap)),
    ...write("memory", "low", reservation !== 0 ? orMax(reservation) : undefined),
  ];
}

/** Version 1 limits memory and swap together, version 2 swap alone. */
function swapMax(limit: number, swap: number): string | undefined {
  if (swap === 0) return undefined;
  if (swap < 0 || limit < 0) return "max";
  if (limit === 0 || swap < limit) {
    throw new BerthError("invalid", `memory and swap together (${swap}) below memory (${limit})`, {
      operation: "set resource limits",
      hint: "a limit of memory and swap needs a limit of memory that is not above it",
    });
  }
  return String(swap - limit);
}

function pids(limits: SpecResources["pids"]): CgroupWrite[] {
  return limits !== undefined && limits.limit > 0 ? write("pids", "max", limits.limit) : [];
}

function blockIo(limits: NonNullable<SpecResources["blockIO"]>): CgroupWrite[] {
  const max = (key: string, devices: NonNullable<typeof limits.throttleReadBpsDevice> = []) =>
    devices.flatMap(({ major, minor, rate }) => write("io", "max", `${major}:${minor} ${key}=${rate}`));
  const weights: CgroupWrite[] = limits.weight
    ? [
        { controller: "io", file: "io.bfq.weight", value: String(limits.weight), optional: true },
        {
          controller: "io",
          file: "io.weight",
          value: `default ${weightFromBlkio(limits.weight)}`,
          optional: true,
        },
      ]
    : [];
  const deviceWeights = (limits.weightDevice ?? []).flatMap(({ major, minor, weight }) =>
    weight ? write("io", "bfq.weight", `${major}:${minor} ${weight}`) : [],
  );
  return [
    ...weights,
    ...deviceWeights.map((entry) => ({ ...entry, optional: true })),
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
