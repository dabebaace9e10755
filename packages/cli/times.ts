/** Times as --since and --until take them: a date, seconds since the epoch, or how long ago. */
import { durationOf } from "#go-values/duration.ts";

/** Seconds since the epoch with nine decimals, as the API takes it; "" for "". Throws Error for what is no time. */
export function parseTime(text: string, now: number): string {
  if (text === "") return "";
  if (/^-?\d+(\.\d+)?$/.test(text)) return text;
  const ago = durationOf(text);
  if (ago !== undefined) return seconds(BigInt(now) * 1_000_000n - BigInt(ago));
  const match = /^(\d{4}-\d\d-\d\d)(?:T(\d\d(?::\d\d(?::\d\d(?:\.(\d{1,9}))?)?)?))?(Z|[+-]\d\d:\d\d)?$/.exec(
    text,
  );
  if (!match)
    throw new Error(`invalid value for "since" or "until": ${text} is neither a time nor a duration`);
  const [, day, clock = "00", fraction = "", zone = ""] = match;
  const padded = `${clock.replace(/\..*/, "")}:00:00`.slice(0, 8);
  const milliseconds = Date.parse(`${day}T${padded}${zone}`);
  if (Number.isNaN(milliseconds)) throw new Error(`failed to parse ${text} as a time`);
  return seconds(BigInt(milliseconds) * 1_000_000n + BigInt(fraction.padEnd(9, "0")));
}

function seconds(nanoseconds: bigint): string {
  return `${nanoseconds / 1_000_000_000n}.${String(nanoseconds % 1_000_000_000n).padStart(9, "0")}`;
}
