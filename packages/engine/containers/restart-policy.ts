/** Whether and when a container that ended is started again. Pure. */
import type { ContainerRecord } from "#engine/containers/container-record.ts";

/** dockerd's back-off: from 100 ms, doubled up to a minute, forgotten after a run of ten seconds. */
const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 60_000;
const LONG_RUN_NS = 10_000_000_000n;

type Judged = Pick<ContainerRecord, "restartCount" | "manuallyStopped"> & {
  hostConfig: Pick<ContainerRecord["hostConfig"], "RestartPolicy">;
  state: Pick<ContainerRecord["state"], "ExitCode">;
};

/** After an end that nobody asked for. */
export function wantsRestart(record: Judged): boolean {
  const policy = record.hostConfig.RestartPolicy;
  switch (policy?.Name) {
    case "always":
      return true;
    case "unless-stopped":
      return !record.manuallyStopped;
    case "on-failure":
      return record.state.ExitCode !== 0 && mayRetry(record);
    default:
      return false;
  }
}

/**
 * When the daemon comes up and finds it ended. What a user has stopped stays so, but for "always"; and "on-failure" is
 * for those whose run ended with the daemon or the machine. (One that waited for its next try has had its say already.)
 */
export function wantsStartWithDaemon(record: Judged, cutShort: boolean): boolean {
  if (record.hostConfig.RestartPolicy?.Name !== "on-failure") return wantsRestart(record);
  return cutShort && !record.manuallyStopped && record.state.ExitCode !== 0 && mayRetry(record);
}

function mayRetry({ hostConfig, restartCount }: Judged): boolean {
  const most = hostConfig.RestartPolicy?.MaximumRetryCount ?? 0;
  return most === 0 || restartCount < most;
}

/** The next pause in milliseconds, from the one before (0: there was none) and how long the run was, in nanoseconds. */
export function nextBackoff(before: number, ranFor: bigint): number {
  if (before === 0 || ranFor >= LONG_RUN_NS) return FIRST_DELAY_MS;
  return Math.min(before * 2, LONGEST_DELAY_MS);
}
