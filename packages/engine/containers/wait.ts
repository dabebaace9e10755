/** `docker wait`, and how `docker run` learns its exit code. */

import { setTimeout as sleep } from "node:timers/promises";
import type { Container, ExitWaiter } from "#engine/containers/container.ts";
import type { WaitCondition } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";

export type WaitResult = { StatusCode: number; Error?: { Message: string } };

/** How long an end may be kept back for attached clients that do not take the output, ms; dockerd's time. */
const DELIVERY_MS = 2000;

/**
 * Resolves when those attached have been sent all the output. Clients that collect it until the wait is answered
 * (dockerode's run) have it then.
 */
export async function outputDelivered(
  container: Pick<Container, "conversations">,
  milliseconds = DELIVERY_MS,
): Promise<void> {
  if (container.conversations.size === 0) return;
  const timer = new AbortController();
  const limit = sleep(milliseconds, undefined, { signal: timer.signal }).catch(() => undefined);
  await Promise.race([Promise.all(container.conversations), limit]);
  timer.abort();
}

/** Registers at once; resolves when the condition is met, rejects only when `signal` says nobody waits any more. */
export async function waitForContainer(
  container: Container,
  condition: WaitCondition,
  signal: AbortSignal,
): Promise<WaitResult> {
  const result = await ended(container, condition, signal);
  await outputDelivered(container);
  return result;
}

function ended(container: Container, condition: WaitCondition, signal: AbortSignal): Promise<WaitResult> {
  const { state } = container.record;
  if (condition === "not-running" && !state.Running) {
    const { ExitCode: StatusCode, Error: Message } = state;
    return Promise.resolve(Message === "" ? { StatusCode } : { StatusCode, Error: { Message } });
  }
  const waiters = condition === "removed" ? container.removalWaiters : container.exitWaiters;
  return new Promise((resolve, reject) => {
    const waiter: ExitWaiter = (exitCode) => {
      signal.removeEventListener("abort", abandon);
      resolve({ StatusCode: exitCode });
    };
    const abandon = () => {
      waiters.delete(waiter);
      reject(
        new BerthError("unavailable", "the client went away", { operation: "wait", object: container.id }),
      );
    };
    waiters.add(waiter);
    signal.addEventListener("abort", abandon, { once: true });
  });
}
