/**
 * Health checks as configured, and what a probe's result makes of a container's health. Pure; times in nanoseconds, as
 * the API has them. Docker's rules: docs.docker.com/reference/dockerfile/#healthcheck.
 */
import type { ContainerConfig, Health, HealthcheckResult } from "#api-types/container.ts";
import { parseNanoseconds } from "#engine/timestamps.ts";
import { BerthError } from "#errors/errors.ts";

const SECOND = 1_000_000_000;
const DEFAULTS = { interval: 30 * SECOND, timeout: 30 * SECOND, startInterval: 5 * SECOND, retries: 3 };
/** The least time between probes, and for one. */
const SHORTEST = 1_000_000;
/** How many results are kept. */
const KEPT = 5;
/** How much of a probe's output is kept, bytes. */
export const MAX_OUTPUT = 4096;

export interface HealthCheck {
  command: string[];
  interval: number;
  timeout: number;
  startPeriod: number;
  startInterval: number;
  retries: number;
}

/** Undefined where there is none, or it was turned off. */
export function healthCheckOf(
  config: Pick<ContainerConfig, "Healthcheck" | "Shell">,
): HealthCheck | undefined {
  const check = config.Healthcheck;
  const command = commandOf(check?.Test ?? [], config.Shell);
  if (check === undefined || command === undefined) return undefined;
  return {
    command,
    interval: check.Interval || DEFAULTS.interval,
    timeout: check.Timeout || DEFAULTS.timeout,
    startPeriod: check.StartPeriod ?? 0,
    startInterval: check.StartInterval || DEFAULTS.startInterval,
    retries: check.Retries || DEFAULTS.retries,
  };
}

function commandOf([kind, ...rest]: string[], shell: string[] = []): string[] | undefined {
  if (rest.length === 0) return undefined;
  if (kind === "CMD") return rest;
  if (kind === "CMD-SHELL") return [...(shell.length > 0 ? shell : ["/bin/sh", "-c"]), ...rest];
  return undefined;
}

/** The health at a start: results of earlier runs stay to be seen. */
export function startingHealth(before: Health | undefined): Health {
  return { Status: "starting", FailingStreak: 0, Log: before?.Log ?? [] };
}

/** The health after a probe. Failures within the start period don't count until there was a success. */
export function afterProbe(
  health: Health,
  check: HealthCheck,
  result: HealthcheckResult,
  startedAt: string,
): Health {
  const Log = [...health.Log, result].slice(-KEPT);
  if (result.ExitCode === 0) return { Status: "healthy", FailingStreak: 0, Log };
  const age = parseNanoseconds(result.Start) - parseNanoseconds(startedAt);
  if (health.Status === "starting" && age < BigInt(check.startPeriod)) return { ...health, Log };
  const FailingStreak = health.FailingStreak + 1;
  return { Status: FailingStreak >= check.retries ? "unhealthy" : health.Status, FailingStreak, Log };
}

/** Nanoseconds from now to the next probe. */
export function nextProbeIn(check: HealthCheck, health: Health, startedAt: string, now: bigint): number {
  const young = now - parseNanoseconds(startedAt) < BigInt(check.startPeriod);
  return young && health.Status === "starting" ? check.startInterval : check.interval;
}

/** A duration as Go writes it: "1.5s", "1m30s", "100ms". */
export function goDuration(nanoseconds: number): string {
  const units: [number, string][] = [
    [1, "ns"],
    [1e3, "µs"],
    [1e6, "ms"],
  ];
  for (const [size, unit] of units.reverse()) {
    if (nanoseconds < 1e9 && nanoseconds >= size) return `${nanoseconds / size}${unit}`;
  }
  const seconds = nanoseconds / 1e9;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = `${Number((seconds % 60).toFixed(9))}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}

/** Throws "invalid", with Docker's text, for what nothing can be timed by. */
export function checkHealthcheck(check: ContainerConfig["Healthcheck"]): void {
  const refuse = (why: string) =>
    new BerthError("invalid", why, { operation: "create container", object: "Healthcheck" });
  for (const name of ["Interval", "Timeout", "StartPeriod", "StartInterval"] as const) {
    const value = check?.[name] ?? 0;
    if (value !== 0 && value < SHORTEST) throw refuse(`${name} in Healthcheck cannot be less than 1ms`);
  }
  if ((check?.Retries ?? 0) < 0) throw refuse("Retries in Healthcheck cannot be negative");
}
