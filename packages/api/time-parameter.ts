/** `since` and `until`: points in time as clients send them, to nanoseconds since the epoch. */
import { BerthError } from "#errors/errors.ts";

const unixTime = /^(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?$/;
const rfc3339 =
  /^([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?$/;

/**
 * Seconds with an optional fraction ("1700000000.5"), or RFC 3339, without a zone meaning UTC. Clients turn
 * durations ("10m") into these themselves. Empty gives undefined. Throws "invalid" naming the parameter.
 */
export function parseTime(name: string, text: string): bigint | undefined {
  if (text === "") return undefined;
  const unix = unixTime.exec(text);
  if (unix !== null) {
    const [, sign, seconds = "0", fraction = ""] = unix;
    const nanoseconds = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0"));
    return sign === "-" ? -nanoseconds : nanoseconds;
  }
  const dated = rfc3339.exec(text);
  if (dated !== null) {
    const [, date = "", time = "00:00:00", fraction = "", zone = "Z"] = dated;
    const milliseconds = Date.parse(`${date}T${time}${zone.toUpperCase()}`);
    if (!Number.isNaN(milliseconds))
      return BigInt(milliseconds) * 1_000_000n + BigInt(fraction.padEnd(9, "0"));
  }
  throw new BerthError(
    "invalid",
    `invalid value "${text}" for ${name}: it must be seconds since 1970 or an RFC 3339 time`,
    { operation: "read query", object: name },
  );
}
