/** RFC 3339 times with nanoseconds, as Docker's JSON has them. */

/** What Docker shows for a time that has not come yet. */
export const ZERO_TIME = "0001-01-01T00:00:00Z";

/** Nanoseconds since the epoch, now. */
export function nowNanoseconds(): bigint {
  // performance.timeOrigin + now() has sub-millisecond digits that Date.now() lacks.
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}

/** "2026-01-02T03:04:05.000000006Z"; trailing zeros of the fraction are cut, as Go's RFC3339Nano does. */
export function formatNanoseconds(nanoseconds: bigint): string {
  const seconds = nanoseconds / 1_000_000_000n;
  const fraction = nanoseconds % 1_000_000_000n;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  if (fraction === 0n) return `${whole}Z`;
  return `${whole}.${fraction.toString().padStart(9, "0").replace(/0+$/, "")}Z`;
}

/** The inverse of formatNanoseconds, for times this engine wrote; 0 for ZERO_TIME. */
export function parseNanoseconds(text: string): bigint {
  if (text === ZERO_TIME) return 0n;
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(text);
  if (match === null) return 0n;
  const seconds = BigInt(Date.parse(`${match[1]}Z`) / 1000);
  return seconds * 1_000_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}
