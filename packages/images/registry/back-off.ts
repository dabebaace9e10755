/**
 * When and how often a failed request to a registry is repeated.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** Milliseconds to wait after the `attempt`-th failure, counted from 1. */
export type RetryDelay = (attempt: number) => number;

/** 1, 2, 4, 8, … seconds, at most 30, with a fifth of jitter so that many clients do not return together. */
export const exponentialDelay: RetryDelay = (attempt) =>
  Math.min(1000 * 2 ** (attempt - 1), 30_000) * (0.9 + Math.random() * 0.2);

/** Answers that say "not now": the same request may well succeed later. */
export function isTransientStatus(status: number): boolean {
  return (
    status === 408 || status === 429 || status === 500 || status === 502 || status === 503 || status === 504
  );
}

/** Network failures that another attempt does not mend: nobody listens, no such host, no trust. */
export function isPermanentNetworkError(code: string): boolean {
  return (
    ["ECONNREFUSED", "ENOTFOUND", "EREDIRECT", "ETOOBIG", "EPROTO"].includes(code) ||
    code.startsWith("ERR_SSL") ||
    code.startsWith("ERR_TLS") ||
    code.includes("CERT") ||
    code === "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
  );
}

/** The registry's own wish (`Retry-After`: seconds or a date) where it has one, at most two minutes. */
export function delayFor(attempt: number, retryAfter: string | undefined, delay: RetryDelay): number {
  const asked = /^\d{1,9}$/.test(retryAfter ?? "")
    ? Number(retryAfter) * 1000
    : Date.parse(retryAfter ?? "") - Date.now();
  return Math.min(Math.max(Number.isNaN(asked) ? 0 : asked, delay(attempt)), 120_000);
}

/** Waits, or throws the signal's reason. */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throw signal?.aborted === true ? signal.reason : error;
  }
}
