/** `docker wait`, and how `docker run` learns its exit code. */

import type { Container, ExitWaiter } from "#engine/container.ts";
import type { WaitCondition } from "#engine/engine-types.ts";
import { BerthError } from "#errors/errors.ts";

export type WaitResult = { StatusCode: number; Error?: { Message: string } };

/** Registers at once; resolves when the condition is met, rejects only when `signal` says nobody waits any more. */
export function waitForContainer(
  container: Container,
  condition: WaitCondition,
  signal: AbortSignal,
): Promise<WaitResult> {
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
