/**
 * Settings that a kernel may not have, or has no more: real-time scheduling by group, limits of kernel memory. Texts are
 * Docker's. Pure.
 */
import type { HostConfig } from "#api-types/container.ts";
import type { HostLimits } from "#engine/requests/validate-host-config.ts";
import { BerthError } from "#errors/errors.ts";

/** The smallest limit of kernel memory that was ever taken. */
const MIN_KERNEL_MEMORY = 6 * 1024 * 1024;

/** Throws "invalid". */
export function checkRealtime(
  { CpuRealtimePeriod, CpuRealtimeRuntime }: HostConfig,
  limits: Pick<HostLimits, "cpuRealtime">,
): void {
  const period = CpuRealtimePeriod ?? 0;
  const runtime = CpuRealtimeRuntime ?? 0;
  if ((period !== 0 || runtime !== 0) && !limits.cpuRealtime) {
    throw invalid("Your kernel does not support CPU real-time scheduler");
  }
  if (period !== 0 && runtime > period) {
    throw invalid("cpu real-time runtime cannot be higher than cpu real-time period");
  }
}

/** Takes the limit out, which no kernel of today keeps, and answers the warning. Throws "invalid". */
export function discardKernelMemory(hostConfig: HostConfig): string[] {
  const { KernelMemory: limit = 0 } = hostConfig;
  delete hostConfig.KernelMemory;
  if (limit <= 0) return [];
  if (limit < MIN_KERNEL_MEMORY) throw invalid("Minimum kernel memory limit allowed is 6MB");
  return ["Specifying a kernel memory limit is deprecated and will be removed in a future release."];
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "check resources" });
}
