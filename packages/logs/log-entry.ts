/** One entry of a container's log, whatever form it is kept in. */

export type LogStream = "stdout" | "stderr";

export interface LogEntry {
  stream: LogStream;
  /** With the newline at its end, unless the line goes on in the next entry or the container's output ended in it. */
  text: string | Uint8Array;
  /** RFC 3339 as written, or nanoseconds since the epoch: whichever the form has; see `nanosecondsOf`. */
  time: string | bigint;
  attributes: Readonly<Record<string, string>>;
}

/** A line that was longer than an entry may be: one of its parts. */
export interface PartialLine {
  id: string;
  /** From 1. */
  ordinal: number;
  last: boolean;
}

const SECOND = 1_000_000_000n;

/** Nanoseconds since the epoch; 0 for a time that is none. */
export function nanosecondsOf(time: string | bigint): bigint {
  if (typeof time === "bigint") return time;
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z$/.exec(time);
  if (match === null) return 0n;
  const seconds = Date.parse(`${match[1]}Z`) / 1000;
  if (Number.isNaN(seconds)) return 0n;
  return BigInt(seconds) * SECOND + BigInt((match[2] ?? "").padEnd(9, "0"));
}

/** RFC 3339 with all nine digits of the fraction, as `docker logs --timestamps` prints it. */
export function fixedTime(time: string | bigint): string {
  if (typeof time === "bigint") {
    const whole = new Date(Number(time / SECOND) * 1000).toISOString().slice(0, 19);
    return `${whole}.${String(time % SECOND).padStart(9, "0")}Z`;
  }
  const [whole = "", fraction = ""] = time.slice(0, -1).split(".");
  return `${whole}.${fraction.padEnd(9, "0")}Z`;
}
