/** Where a container's output is passed on to. One for each container, in the worker thread. */
import type { LogStream, PartialLine } from "#logs/log-entry.ts";

/** One entry on its way. */
export interface Event {
  stream: LogStream;
  /** Nanoseconds since the epoch. */
  time: bigint;
  /** Without newline. */
  line: Uint8Array;
  partial: PartialLine | undefined;
}

/** The other side will never take these events, however often they are sent. */
export class Undeliverable extends Error {}

export interface Sink {
  /**
   * Passes on events in their order. Resolves once they are as safe as the protocol can say: with the kernel, or with
   * the other side's word. Rejects if they can't be delivered now; all of them will be given again. `signal`: give up.
   */
  send(events: readonly Event[], signal: AbortSignal): Promise<void>;
  /** Lets go of everything; what was sent is on its way. */
  close(): Promise<void>;
}
