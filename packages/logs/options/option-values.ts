/** Values of log options as Docker reads them, with its texts for those it can't. Pure. */

import { notBoolean, parseBoolean } from "#go-values/boolean.ts";
import { parseDuration } from "#go-values/duration.ts";
import { ExpressionError, expressionTest } from "#go-values/expression.ts";
import { parseSize as goSize } from "#go-values/size.ts";

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

/** Bytes: "10m", "1.5 kB". `base`: 1000 or 1024, which depends on the option. */
export function parseSize(text: string, base: 1000 | 1024): number {
  const bytes = goSize(text, base);
  if (bytes === undefined) throw new LogOptionError(`invalid size: '${text}'`);
  return bytes;
}

/** A Go duration in milliseconds: "1.5s", "1m30s". */
export function parseMilliseconds(text: string): number {
  try {
    return parseDuration(text) / 1e6;
  } catch (error) {
    throw new LogOptionError((error as Error).message);
  }
}

/** A test for names. */
export function parsePattern(text: string): (name: string) => boolean {
  try {
    return expressionTest(text);
  } catch (error) {
    throw error instanceof ExpressionError ? new LogOptionError(error.message) : error;
  }
}
