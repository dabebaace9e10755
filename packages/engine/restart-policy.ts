/** Whether and when a container that ended is started again. Pure. */
import type { ContainerRecord } from "#engine/container-record.ts";

/** dockerd's back-off: from 100 ms, doubled up to a minute, forgotten after a run of ten seconds. */
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
const LONG_RUN_NS = 10_000_000_000n;

export function wantsRestart(record: ContainerRecord): boolean {
  const policy = record.hostConfig.RestartPolicy;
  if (record.manuallyStopped) return false;
  switch (policy?.Name) {
    case "always":
    case "unless-stopped":
      return true;
    case "on-failure":
      return (
        record.state.ExitCode !== 0 &&
        (policy.MaximumRetryCount === 0 || record.restartCount < policy.MaximumRetryCount)
      );
    default:
      return false;
  }
}

/** `ranFor` in nanoseconds; `reset`: the run was long enough to start counting anew. */
export function restartDelay(restartCount: number, ranFor: bigint): { milliseconds: number; reset: boolean } {
  if (ranFor >= LONG_RUN_NS) return { milliseconds: FIRST_DELAY_MS, reset: true };
  return { milliseconds: Math.min(FIRST_DELAY_MS * 2 ** restartCount, LONGEST_DELAY_MS), reset: false };
}
