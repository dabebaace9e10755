/** Durations: Go's notation ("1m30s") in, and how long ago in words out, as `docker ps` says it. */

const UNITS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds of "1h30m", "-1.5s", "0". Throws Error with Go's text. */
export function parseDuration(text: string): number {
  const body = text.replace(/^[+-]/, "");
  if (body === "0") return 0;
  const fail = (why: string) => new Error(`time: ${why} duration "${text}"`);
  if (body === "") throw fail("invalid");
  let total = 0;
  let rest = body;
  while (rest !== "") {
    const match = /^(\d+\.?\d*|\.\d+)([^\d.]*)/.exec(rest);
    if (!match) throw fail("invalid");
    const [all, number, unit = ""] = match;
    if (unit === "") throw new Error(`time: missing unit in duration "${text}"`);
    if (UNITS[unit] === undefined) throw new Error(`time: unknown unit "${unit}" in duration "${text}"`);
    total += Number(number) * UNITS[unit];
    rest = rest.slice(all.length);
  }
  return Math.trunc(text.startsWith("-") ? -total : total);
}

/** "About a minute", "5 hours", "2 weeks" of a length of time in milliseconds. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.trunc(milliseconds / 1000);
  if (seconds < 1) return "Less than a second";
  if (seconds === 1) return "1 second";
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(seconds / 60);
  if (minutes === 1) return "About a minute";
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.round(milliseconds / 3_600_000);
  if (hours === 1) return "About an hour";
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(hours / 24 / 365)} years`;
}

/** "3 minutes ago" of a time in seconds since the epoch. */
export function timeAgo(seconds: number, now: number = Date.now()): string {
  return `${humanDuration(now - seconds * 1000)} ago`;
}
