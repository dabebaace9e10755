/**
 * Probes a running container at its intervals, and keeps its State.Health. One timer per container and no process
 * between probes. Never two probes of one container at a time.
 */
import type { HealthcheckResult } from "#api-types/container.ts";
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { publishContainerEvent } from "#engine/events/container-events.ts";
import {
  afterProbe,
  type HealthCheck,
  healthCheckOf,
  nextProbeIn,
  startingHealth,
} from "#engine/health/health-check.ts";
import { probe } from "#engine/health/probe.ts";
import { LONGEST_TIMER_MS } from "#engine/longest-timer.ts";
import { nowNanoseconds } from "#engine/timestamps.ts";

export interface HealthMonitor {
  timer: NodeJS.Timeout | undefined;
  readonly stop: AbortController;
}

/** At a start, before it is recorded: its health is not known yet. */
export function initHealth(container: Container): void {
  const { state, config } = container.record;
  if (healthCheckOf(config) === undefined) delete state.Health;
  else state.Health = startingHealth(state.Health);
}

/** Begins or ends the probing, as the container's state wants it. */
export function updateHealthMonitor(context: EngineContext, container: Container): void {
  const { state, config } = container.record;
  const check = healthCheckOf(config);
  if (!state.Running || state.Paused || state.Restarting || check === undefined) {
    stopHealthMonitor(container);
    return;
  }
  if (container.health !== undefined) return;
  state.Health ??= startingHealth(undefined);
  const monitor: HealthMonitor = { timer: undefined, stop: new AbortController() };
  container.health = monitor;
  schedule(context, container, monitor, check);
}

/** As in dockerd, whose health nobody watches is unhealthy; no event tells of it. */
export function stopHealthMonitor(container: Container): void {
  const { health, record } = container;
  if (health === undefined) return;
  container.health = undefined;
  clearTimeout(health.timer);
  health.stop.abort();
  if (record.state.Health !== undefined) record.state.Health.Status = "unhealthy";
}

function schedule(
  context: EngineContext,
  container: Container,
  monitor: HealthMonitor,
  check: HealthCheck,
): void {
  const { state } = container.record;
  if (state.Health === undefined) return;
  const wait = nextProbeIn(check, state.Health, state.StartedAt, nowNanoseconds());
  const run = async () => {
    const result = await probe(context, container, check, monitor.stop.signal);
    if (monitor.stop.signal.aborted) return;
    take(context, container, check, result);
    schedule(context, container, monitor, check);
  };
  const failed = (error: unknown) =>
    context.logger.error("a health check failed", { container: container.id, error });
  // Not among the background work: the daemon's end does not wait for a probe's.
  monitor.timer = setTimeout(() => void run().catch(failed), Math.min(wait / 1e6, LONGEST_TIMER_MS));
}

function take(
  context: EngineContext,
  container: Container,
  check: HealthCheck,
  result: HealthcheckResult,
): void {
  const { state } = container.record;
  if (state.Health === undefined) return;
  const before = state.Health.Status;
  state.Health = afterProbe(state.Health, check, result, state.StartedAt);
  try {
    context.containers.save(container);
  } catch (error) {
    // It is stored with the next one.
    context.logger.error("a health check's result cannot be stored", { container: container.id, error });
  }
  if (state.Health.Status === before) return;
  publishContainerEvent(context, container, `health_status: ${state.Health.Status}`);
}
