/**
 * Batches of events to a sink, one after the other, each until it is taken. With mode=non-blocking, what waits for a
 * destination that takes nothing is bounded: the oldest is dropped, and how much is told.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Event, type Sink, Undeliverable } from "#logs/sinks/sink.ts";

export interface RetryPlan {
  /** Pauses between attempts, ms: each is twice the one before. */
  first: number;
  longest: number;
  /** After so many more attempts a batch is dropped, and that is told; undefined: never. */
  times: number | undefined;
}

const FOR_EVER: RetryPlan = { first: 100, longest: 5000, times: undefined };
/** A destination that takes longer for a batch takes nothing, as far as mode=non-blocking is concerned, ms. */
const STALL = 1000;

export interface DeliveryControl {
  /** Give up. */
  readonly signal: AbortSignal;
  /** Something whoever runs the daemon should know. */
  warn(text: string): void;
}

export class Delivery implements AsyncDisposable {
  readonly #sink: Sink;
  readonly #buffer: number | undefined;
  readonly #control: DeliveryControl;
  readonly #retry: RetryPlan;
  #failing = false;
  /** When it began to take nothing; performance.now(). */
  #stalledSince: number | undefined;
  #dropped = 0;

  /** `buffer`: bytes that may wait, where that is bounded. */
  constructor(sink: Sink, buffer: number | undefined, control: DeliveryControl, retry: RetryPlan = FOR_EVER) {
    this.#retry = retry;
    this.#sink = sink;
    this.#buffer = buffer;
    this.#control = control;
  }

  /** Resolves when they are delivered or dropped, or on the signal. `waiting`: bytes in files, from them on. */
  async deliver(events: readonly Event[], waiting: () => number): Promise<void> {
    const { signal } = this.#control;
    const { first, longest, times = Number.POSITIVE_INFINITY } = this.#retry;
    let attempts = 0;
    for (let pause = first; events.length > 0 && !signal.aborted; pause = Math.min(2 * pause, longest)) {
      if (this.#isTooMuch(waiting)) {
        this.#dropped += events.length;
        return;
      }
      const began = performance.now();
      try {
        await this.#sink.send(events, signal);
        this.#delivered(began);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const reason = error instanceof Error ? error.message : String(error);
        if (error instanceof Undeliverable) {
          this.#control.warn(`${events.length} log events were refused: ${reason}`);
          return;
        }
        if (!this.#failing) this.#control.warn(`log output can't be delivered now: ${reason}`);
        this.#failing = true;
        this.#stalledSince ??= began;
        if (attempts++ >= times) {
          this.#control.warn(
            `${events.length} log events were dropped after ${attempts} attempts: ${reason}`,
          );
          return;
        }
      }
      await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sink.close();
  }

  #delivered(began: number): void {
    if (this.#failing) this.#control.warn("log output is delivered again");
    if (this.#dropped > 0)
      this.#control.warn(`${this.#dropped} log events were dropped: more were waiting than may`);
    this.#failing = false;
    this.#dropped = 0;
    // Slow is as bad as failing: what comes next may have to go.
    this.#stalledSince = performance.now() - began > STALL ? began : undefined;
  }

  #isTooMuch(waiting: () => number): boolean {
    if (this.#buffer === undefined || this.#stalledSince === undefined) return false;
    return performance.now() - this.#stalledSince >= STALL && waiting() > this.#buffer;
  }
}
