/** Values of log options as Docker reads them, with its texts for those it can't. Pure. */

import { notBoolean, parseBoolean } from "#go-values/boolean.ts";
import { parseDuration } from "#go-values/duration.ts";

/** An option that makes no sense; the message is Docker's. */
export class LogOptionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "LogOptionError";
  }
}

export function parseBool(text: string): boolean {
  const parsed = parseBoolean(text);
  if (parsed === undefined) throw new LogOptionError(notBoolean(text));
  return parsed;
}

/** `function_`: the name Go's error has. */
export function parseInteger(text: string, function_ = "Atoi"): number {
  const signed = function_ === "ParseUint" ? /^\d{1,15}$/ : /^[+-]?\d{1,15}$/;
  if (signed.test(text)) return Number(text);
  throw new LogOptionError(`strconv.${function_}: parsing ${JSON.stringify(text)}: invalid syntax`);
}

const POWERS = ["", "k", "m", "g", "t", "p"];

/** Bytes: "10m", "1.5 kB". `base`: 1000 or 1024, which depends on the option. */
export function parseSize(text: string, base: 1000 | 1024): number {
  const match = /^(\d+(?:\.\d+)*) ?([kmgtp]?)i?b?$/i.exec(text);
  const number = Number(match?.[1]);
  if (match === null || Number.isNaN(number)) throw new LogOptionError(`invalid size: '${text}'`);
  return Math.floor(number * base ** POWERS.indexOf((match[2] ?? "").toLowerCase()));
}

/** A Go duration in milliseconds: "1.5s", "1m30s". */
export function parseMilliseconds(text: string): number {
  try {
    return parseDuration(text) / 1e6;
  } catch (error) {
    throw new LogOptionError((error as Error).message);
  }
}

/** Causes that both kinds of expressions know, in RE2's words. */
const FAULTS: [RegExp, string][] = [
  [/Unterminated group/i, "missing closing )"],
  [/Unmatched '\)'/i, "unexpected )"],
  [/Unterminated character class/i, "missing closing ]"],
  [/Nothing to repeat/i, "missing argument to repetition operator"],
  [/\\ at end of pattern/i, "trailing backslash at end of expression"],
];

export function parsePattern(text: string): RegExp {
  try {
    return new RegExp(text, "u");
  } catch (error) {
    const reason = (error as Error).message;
    const fault = FAULTS.find(([pattern]) => pattern.test(reason))?.[1] ?? "invalid escape sequence";
    throw new LogOptionError(`error parsing regexp: ${fault}: \`${text}\``);
  }
}
