/**
 * What happened, told to whoever listens (`docker events`). The last events are kept for `--since`.
 *
 * Publishing never waits: each subscriber has a bounded queue, and one that does not read is ended, alone.
 */
import type { EventMessage } from "#api-types/system.ts";
import type { EventService, Filters } from "#engine/engine-types.ts";
import { matchesEvent } from "#engine/events/event-filters.ts";
import { LONGEST_TIMER_MS } from "#engine/longest-timer.ts";
import { nowNanoseconds } from "#engine/timestamps.ts";

/** dockerd keeps 256 events for late subscribers. */
const KEPT = 256;
/** A subscriber further behind than this is dropped. */
const MAX_QUEUED = 4096;

interface Subscriber {
  queue: EventMessage[];
  wake: (() => void) | undefined;
  overrun: boolean;
}

export class EventBus implements EventService {
  readonly #past: EventMessage[] = [];
  readonly #subscribers = new Set<Subscriber>();

  /** How many listen now. */
  get listeners(): number {
    return this.#subscribers.size;
  }

  publish(type: string, action: string, id: string, attributes: Record<string, string>): void {
    const nanoseconds = nowNanoseconds();
    const message: EventMessage = {
      // The first three fields are what clients older than API 1.22 read; dockerd still sends them.
      ...(type === "container" || type === "image" ? { status: action, id } : {}),
      ...(type === "container" && attributes.image !== undefined ? { from: attributes.image } : {}),
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes },
      scope: "local",
      time: Number(nanoseconds / 1_000_000_000n),
      timeNano: Number(nanoseconds),
    };
    this.#past.push(message);
    if (this.#past.length > KEPT) this.#past.shift();
    for (const subscriber of this.#subscribers) {
      if (subscriber.queue.length >= MAX_QUEUED) subscriber.overrun = true;
      if (!subscriber.overrun) subscriber.queue.push(message);
      subscriber.wake?.();
    }
  }

  async *subscribe(options: {
    since?: bigint | undefined;
    until?: bigint | undefined;
    filters: Filters;
    signal: AbortSignal;
  }): AsyncIterable<EventMessage> {
    const subscriber: Subscriber = { queue: [], wake: undefined, overrun: false };
    const { since, until, filters, signal } = options;
    if (since !== undefined || until !== undefined) {
      // Times are numbers for whoever reads the JSON; what they are compared with has to be rounded alike.
      const [first, last] = [Number(since ?? 0n), until === undefined ? Infinity : Number(until)];
      subscriber.queue.push(...this.#past.filter(({ timeNano }) => timeNano >= first && timeNano <= last));
    }
    const stop = () => subscriber.wake?.();
    signal.addEventListener("abort", stop);
    let timer: NodeJS.Timeout | undefined;
    this.#subscribers.add(subscriber);
    try {
      while (!signal.aborted) {
        const event = subscriber.queue.shift();
        if (event !== undefined) {
          if (until !== undefined && event.timeNano > Number(until)) return;
          if (matchesEvent(event, filters)) yield event;
        } else {
          // It gets what was kept for it; what came after would leave a gap.
          if (subscriber.overrun) return;
          if (until !== undefined && nowNanoseconds() >= until) return;
          await new Promise<void>((resolve) => {
            subscriber.wake = resolve;
            // Every time anew: a timer may go off a moment early by another clock, or be too short for a far end.
            if (until !== undefined) timer = setTimeout(resolve, millisecondsUntil(until));
          });
          subscriber.wake = undefined;
          clearTimeout(timer);
        }
      }
    } finally {
      this.#subscribers.delete(subscriber);
      signal.removeEventListener("abort", stop);
      clearTimeout(timer);
    }
  }
}

function millisecondsUntil(nanoseconds: bigint): number {
  const milliseconds = Number((nanoseconds - nowNanoseconds()) / 1_000_000n) + 1;
  return Math.max(0, Math.min(milliseconds, LONGEST_TIMER_MS));
}
