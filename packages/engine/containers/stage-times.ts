/**
 * How long each stage of the last operations on a container took: what `berth debug timings` shows, and what a slow start is
 * explained by. Kept in memory, one list for each kind of operation; costs a look at the clock for each stage.
 */

/** The operations that are timed; "end" begins with the death of the main process. */
export type TimedOperation = "create" | "start" | "end";

export interface StageTime {
  operation: TimedOperation;
  /** What had been done when it was over. */
  stage: string;
  /** Since the stage before, or since the operation began. */
  milliseconds: number;
}

export class StageTimes {
  readonly #times = new Map<TimedOperation, { stages: StageTime[]; last: number }>();

  /** `at`: when it began, as `performance.now()` counts, where that was earlier. What is known of the one before is forgotten. */
  begin(operation: TimedOperation, at: number = performance.now()): void {
    this.#times.set(operation, { stages: [], last: at });
  }

  /** Done since the last mark: this. */
  mark(operation: TimedOperation, stage: string): void {
    const times = this.#times.get(operation);
    if (times === undefined) return;
    const now = performance.now();
    times.stages.push({ operation, stage, milliseconds: now - times.last });
    times.last = now;
  }

  /** In the order in which it happened. */
  list(): StageTime[] {
    return [...this.#times.values()].flatMap(({ stages }) => stages);
  }
}
