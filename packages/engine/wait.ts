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
    return Promise.resolve(result(state.ExitCode, state.Error));
  }
  const waiters = condition === "removed" ? container.removalWaiters : container.exitWaiters;
  return new Promise((resolve, reject) => {
    const waiter: ExitWaiter = (exitCode) => {
      signal.removeEventListener("abort", abandon);
      resolve(result(exitCode, state.Error));
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

function result(exitCode: number, error: string): WaitResult {
  return error === "" ? { StatusCode: exitCode } : { StatusCode: exitCode, Error: { Message: error } };
}
