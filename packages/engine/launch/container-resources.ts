/** The resource flags of `docker run` as OCI resources. Pure, but for the numbers of device files. */
import type { HostConfig, ThrottleDevice } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import type { SpecResources, SpecThrottleDevice } from "#runtime/spec-types.ts";

/** Scheduler period that `--cpus` is expressed in, microseconds (Docker's, and the kernel's default). */
const NANO_CPU_PERIOD = 100_000;

export type DeviceNumbers = (path: string) => { major: number; minor: number };

export function containerResources(host: HostConfig, deviceNumbers: DeviceNumbers): SpecResources {
  const resources: SpecResources = {};
  const memory = memoryResources(host);
  if (Object.keys(memory).length > 0) resources.memory = memory;
  const cpu = cpuResources(host);
  if (Object.keys(cpu).length > 0) resources.cpu = cpu;
  const block = blockResources(host, deviceNumbers);
  if (Object.keys(block).length > 0) resources.blockIO = block;
  if (host.PidsLimit != null && host.PidsLimit !== 0) resources.pids = { limit: host.PidsLimit };
  return resources;
}

function memoryResources(host: HostConfig): NonNullable<SpecResources["memory"]> {
  const memory: NonNullable<SpecResources["memory"]> = {};
  if (host.Memory) memory.limit = host.Memory;
  if (host.MemoryReservation) memory.reservation = host.MemoryReservation;
  if (host.KernelMemoryTCP) memory.kernelTCP = host.KernelMemoryTCP;
  if (host.MemorySwap) memory.swap = host.MemorySwap;
  if (host.MemorySwappiness != null && host.MemorySwappiness >= 0) memory.swappiness = host.MemorySwappiness;
  if (host.OomKillDisable) memory.disableOOMKiller = true;
  return memory;
}

function cpuResources(host: HostConfig): NonNullable<SpecResources["cpu"]> {
  const cpu: NonNullable<SpecResources["cpu"]> = {};
  if (host.CpuShares) cpu.shares = host.CpuShares;
  if (host.NanoCpus) {
    cpu.period = NANO_CPU_PERIOD;
    cpu.quota = Math.floor((host.NanoCpus * NANO_CPU_PERIOD) / 1e9);
  }
  if (host.CpuPeriod) cpu.period = host.CpuPeriod;
  if (host.CpuQuota) cpu.quota = host.CpuQuota;
  if (host.CpuRealtimePeriod) cpu.realtimePeriod = host.CpuRealtimePeriod;
  if (host.CpuRealtimeRuntime) cpu.realtimeRuntime = host.CpuRealtimeRuntime;
  if (host.CpusetCpus) cpu.cpus = host.CpusetCpus;
  if (host.CpusetMems) cpu.mems = host.CpusetMems;
  return cpu;
}

function blockResources(host: HostConfig, numbers: DeviceNumbers): NonNullable<SpecResources["blockIO"]> {
  const block: NonNullable<SpecResources["blockIO"]> = {};
  if (host.BlkioWeight) block.weight = host.BlkioWeight;
  if (host.BlkioWeightDevice?.length) {
    block.weightDevice = host.BlkioWeightDevice.map(({ Path, Weight }) => ({
      ...numbers(Path),
      weight: Weight,
    }));
  }
  const throttle = (devices: ThrottleDevice[] | null | undefined): SpecThrottleDevice[] =>
    (devices ?? []).map(({ Path, Rate }) => ({ ...numbers(Path), rate: Rate }));
  if (host.BlkioDeviceReadBps?.length) block.throttleReadBpsDevice = throttle(host.BlkioDeviceReadBps);
  if (host.BlkioDeviceWriteBps?.length) block.throttleWriteBpsDevice = throttle(host.BlkioDeviceWriteBps);
  if (host.BlkioDeviceReadIOps?.length) block.throttleReadIOPSDevice = throttle(host.BlkioDeviceReadIOps);
  if (host.BlkioDeviceWriteIOps?.length) block.throttleWriteIOPSDevice = throttle(host.BlkioDeviceWriteIOps);
  return block;
}

/** "c 1:3 rwm" of --device-cgroup-rule. Throws "invalid" with Docker's text. */
export function parseDeviceRule(rule: string): {
  type: string;
  major: number;
  minor: number;
  access: string;
} {
  const match = /^([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})$/.exec(rule);
  if (match === null) {
    throw new BerthError("invalid", `invalid device cgroup rule format: '${rule}'`, {
      operation: "create container",
      object: rule,
      hint: "write it as 'c 1:3 rwm'",
    });
  }
  const [, type = "", major = "", minor = "", access = ""] = match;
  const number = (text: string) => (text === "*" ? -1 : Number(text));
  return { type, major: number(major), minor: number(minor), access };
}
