/** Checks of a container's configuration that need nothing but itself, with Docker's texts. Pure. */
import type { ContainerConfig } from "#api-types/container.ts";
import { BerthError } from "#errors/errors.ts";
import { parseSignal } from "#runtime/signals.ts";

/** Nanoseconds; dockerd's bound for every duration of a health check. */
const SHORTEST_DURATION = 1_000_000;

const DURATIONS = ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const;

/** Throws "invalid" for what no container could be started with. */
export function checkContainerConfig(config: ContainerConfig): void {
  const { WorkingDir, Env, Healthcheck, StopSignal, StopTimeout } = config;
  if (WorkingDir && !WorkingDir.startsWith("/")) {
    throw invalid(`the working directory '${WorkingDir}' is invalid, it needs to be an absolute path`);
  }
  for (const entry of Env ?? []) {
    if (entry === "" || entry.startsWith("=")) throw invalid(`invalid environment variable: ${entry}`);
  }
  if (StopSignal) parseSignal(StopSignal);
  if (StopTimeout != null && !Number.isSafeInteger(StopTimeout)) {
    throw invalid(`invalid stop timeout: ${StopTimeout}`);
  }
  if (Healthcheck === undefined) return;
  for (const name of DURATIONS) {
    const duration = Healthcheck[name] ?? 0;
    if (duration !== 0 && duration < SHORTEST_DURATION) {
      throw invalid(`${name} in Healthcheck cannot be less than 1ms`);
    }
  }
  if ((Healthcheck.Retries ?? 0) < 0) throw invalid("Retries in Healthcheck cannot be negative");
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "create container" });
}
