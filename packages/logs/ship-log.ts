/**
 * Passing a log on to where its driver sends it: reads what the shim has written, behind it and at its own pace, and
 * keeps a record of how far it got. What could not be delivered is tried again, for as long as it takes.
 *
 * Forgets files: only those that have been passed on, and of them those that are too many. Runs in the worker thread.
 */
import { readdirSync, statSync } from "node:fs";
import { ChangeWaiter } from "#logs/change-waiter.ts";
import { identityAt } from "#logs/compressed-file.ts";
import { Delivery, type DeliveryControl } from "#logs/delivery.ts";
import { type LogFile, logFileNames, openLogFiles } from "#logs/log-files.ts";
import { splitLocal } from "#logs/log-form.ts";
import { successor } from "#logs/read-log.ts";
import { PositionFile, readPosition } from "#logs/ship-position.ts";
import type { ShipTask } from "#logs/ship-types.ts";
import { openSink } from "#logs/sinks/open-sink.ts";
import type { Event } from "#logs/sinks/sink.ts";
import { tidyLog } from "#logs/tidy-log.ts";

const BLOCK = 64 * 1024;
/** In a bounded buffer. */
const BATCHES = 8;

export interface ShipControl extends DeliveryControl {
  /** No more will be written: ends when all has been passed on. */
  readonly ended: Promise<void>;
}

/** Resolves when all that will ever be written has been passed on, or on the signal. */
export async function shipLog(task: ShipTask, control: ShipControl): Promise<void> {
  const { log, keep } = task;
  using waiter = new ChangeWaiter(log.directory, control.ended, control.signal);
  const first = await firstFile(task, waiter, control.signal);
  if (first === undefined) return;
  // What comes next may fail before anybody reads it.
  await using _first = first.file;
  using position = new PositionFile(task.position);
  await using delivery = new Delivery(await openSink(task.sink), task.buffer, control, task.retry);
  let current: LogFile | undefined = first.file;
  let { offset } = first;
  while (current !== undefined) {
    await using file = current;
    const passing = new Passing(task, file, offset, delivery, position);
    await passing.begin();
    await tidyLog(log, keep, file);
    current = await passing.toSuccessor(waiter, control.signal);
    offset = 0;
  }
}

/** The file that was under way, or the oldest. */
async function firstFile(
  task: ShipTask,
  waiter: ChangeWaiter,
  signal: AbortSignal,
): Promise<{ file: LogFile; offset: number } | undefined> {
  for (;;) {
    const ended = waiter.ended;
    const files = await openLogFiles(task.log);
    const position = readPosition(task.position);
    const identities = await Promise.all(files.map((file) => file.identity()));
    const found = position === undefined ? -1 : identities.indexOf(position.file);
    const chosen = files[Math.max(0, found)];
    for (const file of files) if (file !== chosen) await file[Symbol.asyncDispose]();
    if (chosen !== undefined) return { file: chosen, offset: found < 0 ? 0 : (position?.offset ?? 0) };
    if (ended || signal.aborted) return undefined;
    await waiter.wait();
  }
}

/** One file on its way. */
class Passing {
  readonly #task: ShipTask;
  /** Bytes that are passed on at once. */
  readonly #batch: number;
  readonly #file: LogFile;
  readonly #delivery: Delivery;
  readonly #position: PositionFile;
  readonly #block = Buffer.allocUnsafe(4 * BLOCK);
  #identity = "";
  #offset: number;

  constructor(task: ShipTask, file: LogFile, offset: number, delivery: Delivery, position: PositionFile) {
    this.#task = task;
    // What may be dropped is dropped by the batch.
    this.#batch = Math.min(BLOCK, (task.buffer ?? Number.POSITIVE_INFINITY) / BATCHES);
    this.#file = file;
    this.#offset = offset;
    this.#delivery = delivery;
    this.#position = position;
  }

  async begin(): Promise<void> {
    this.#identity = (await this.#file.identity()) ?? "0.0";
    this.#position.save({ file: this.#identity, offset: this.#offset });
  }

  /** All that is in the file, and then the one that comes after it; undefined when there will be none, or on the signal. */
  async toSuccessor(waiter: ChangeWaiter, signal: AbortSignal): Promise<LogFile | undefined> {
    for (;;) {
      const ended = waiter.ended;
      await this.#toEnd(signal);
      if (signal.aborted) return undefined;
      if (this.#isRotated()) {
        // Nothing is written to it any more: now to its very end, and on.
        await this.#toEnd(signal);
        const next = await successor(this.#file, this.#task.log);
        if (next !== undefined) return next;
      }
      if (ended) return undefined;
      await waiter.wait();
    }
  }

  async #toEnd(signal: AbortSignal): Promise<void> {
    const handle = await this.#file.content();
    while (!signal.aborted) {
      const { bytesRead } = await handle.read(this.#block, 0, this.#block.length, this.#offset);
      const events: Event[] = [];
      const used = splitLocal(this.#block.subarray(0, bytesRead), (entry, end) => {
        events.push(entry);
        return end < this.#batch;
      });
      if (used === 0) return;
      await this.#delivery.deliver(events, () => this.#waiting());
      if (signal.aborted) return;
      this.#offset += used;
      this.#position.save({ file: this.#identity, offset: this.#offset });
    }
  }

  /** Bytes that have not been passed on, in this file and the younger ones. */
  #waiting(): number {
    const { directory, name } = this.#task.log;
    let waiting = 0;
    let behind = true;
    for (const file of logFileNames(readdirSync(directory), name)) {
      const path = `${directory}/${file.name}`;
      const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
      if (!behind) waiting += size;
      else if (identityAt(path, file.compressed) === this.#identity) {
        behind = false;
        waiting += size - this.#offset;
      }
    }
    return waiting;
  }

  #isRotated(): boolean {
    const { directory, name } = this.#task.log;
    const current = identityAt(`${directory}/${name}`, false);
    // None: it is just being replaced, or all of it is gone.
    return current !== undefined && current !== this.#identity;
  }
}
