/**
 * Progress messages as Docker's clients expect them.
 *
 * The client draws its own bar from `progressDetail`; the `progress` text is for programs that print what they get.
 */
import type { ProgressMessage } from "#api-types/image.ts";
import { humanSize } from "#go-values/size.ts";

/** Clients redraw a terminal line per message; more often than this nobody sees. */
const reportEveryMs = 100;
const barWidth = 50;

/** "Downloading" or "Extracting" with numbers. */
export function progressMessage(id: string, status: string, current: number, total: number): ProgressMessage {
  return { status, progressDetail: { current, total }, progress: progressText(current, total), id };
}

/** A status without numbers: "Pulling fs layer". Docker sends an empty detail with it. */
export function statusMessage(id: string, status: string): ProgressMessage {
  return { status, progressDetail: {}, id };
}

/** "[====>      ]  1.2MB/3.4MB", or only the amount where the total is unknown. */
export function progressText(current: number, total: number): string {
  if (current <= 0 && total <= 0) return "";
  if (total <= 0) return humanSize(current).padStart(8);
  const filled = Math.min(Math.floor(((current / total) * 100) / 2), barWidth);
  const bar = `[${"=".repeat(filled)}>${" ".repeat(barWidth - filled)}]`;
  const amount =
    current > total
      ? humanSize(current).padStart(8)
      : `${humanSize(current).padStart(8)}/${humanSize(total)}`;
  return `${bar} ${amount}`;
}

/** Lets through the first and then one in 100 ms; `last` always passes. */
export function throttle(report: (current: number, total: number) => void) {
  let told = Number.NEGATIVE_INFINITY;
  return (current: number, total: number, last = false): void => {
    const now = performance.now();
    if (!last && now - told < reportEveryMs) return;
    told = now;
    report(current, total);
  };
}
