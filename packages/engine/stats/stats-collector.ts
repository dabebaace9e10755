/**
 * What containers use, once a second, told to whoever listens: however many streams there are, a container is looked at
 * once a second; without any, never.
 */
import { totalmem } from "node:os";
import type { Container } from "#engine/containers/container.ts";
import type { EngineContext } from "#engine/engine-context.ts";
import { NOTHING, type Sample, sampleOf } from "#engine/stats/stats-shape.ts";
import { formatNanoseconds, nowNanoseconds } from "#engine/timestamps.ts";
import { readInterfaceCounters, readProcessorTime } from "#kernel/proc-counters.ts";
import { readEngineStats } from "#runtime/cgroups/stats.ts";

const PERIOD_MS = 1000;

/** Undefined: the container has gone. */
type Listener = (sample: Sample | undefined) => void;

interface Collector {
  listeners: Set<Listener>;
  timer: NodeJS.Timeout;
  last: Sample;
}

const collectors = new WeakMap<Container, Collector>();

/** The container's counters now. */
export function takeSample(context: EngineContext, container: Container): Sample {
  const { record } = container;
  if (!record.state.Running || record.state.Restarting) return NOTHING;
  const { total, count } = readProcessorTime();
  return sampleOf(readEngineStats(context.cgroups, record), {
    read: formatNanoseconds(nowNanoseconds()),
    version: context.cgroups.version,
    systemCpu: total,
    onlineCpus: count,
    totalMemory: totalmem(),
    networks: hasOwnNetwork(record.hostConfig.NetworkMode)
      ? readInterfaceCounters(record.state.Pid)
      : undefined,
  });
}

/** The host's interfaces are not the container's; those of a container whose network is shared are. */
function hasOwnNetwork(mode = "bridge"): boolean {
  return mode !== "host" && mode !== "none";
}

/** Samples a second apart, the first at once, until the container has gone or the signal says so. */
export async function* samples(
  context: EngineContext,
  container: Container,
  signal: AbortSignal,
): AsyncIterable<Sample> {
  let next: Sample | undefined;
  let gone = false;
  let wake = () => {};
  const listener: Listener = (sample) => {
    // A slow client gets the newest; what it has missed is of no use to it.
    if (sample === undefined) gone = true;
    else next = sample;
    wake();
  };
  const aborted = () => wake();
  signal.addEventListener("abort", aborted);
  next = listen(context, container, listener);
  try {
    while (!signal.aborted) {
      if (next !== undefined) {
        const sample = next;
        next = undefined;
        yield sample;
      } else if (gone) return;
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    signal.removeEventListener("abort", aborted);
    stopListening(container, listener);
  }
}

function listen(context: EngineContext, container: Container, listener: Listener): Sample {
  const running = collectors.get(container);
  if (running !== undefined) {
    running.listeners.add(listener);
    return running.last;
  }
  const collector: Collector = {
    listeners: new Set([listener]),
    last: takeSample(context, container),
    timer: setInterval(() => {
      const gone = context.containers.find(container.id) !== container;
      try {
        if (!gone) collector.last = takeSample(context, container);
      } catch (error) {
        // The next second may go better, and there is nobody to throw to.
        context.logger.warn("reading counters failed", { container: container.id, error });
      }
      for (const told of collector.listeners) told(gone ? undefined : collector.last);
    }, PERIOD_MS),
  };
  collectors.set(container, collector);
  return collector.last;
}

function stopListening(container: Container, listener: Listener): void {
  const collector = collectors.get(container);
  if (collector === undefined) return;
  collector.listeners.delete(listener);
  if (collector.listeners.size > 0) return;
  clearInterval(collector.timer);
  collectors.delete(container);
}
