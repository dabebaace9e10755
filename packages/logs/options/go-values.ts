/** Values of log options as Docker reads them, with its texts for those it can't. Pure. */

/** An option that makes no sense; the message is Docker's. */
export class LogOptionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "LogOptionError";
  }
}

const TRUE = ["1", "t", "T", "TRUE", "true", "True"];
const FALSE = ["0", "f", "F", "FALSE", "false", "False"];

export function parseBool(text: string): boolean {
  if (TRUE.includes(text)) return true;
  if (FALSE.includes(text)) return false;
  throw new LogOptionError(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
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

const UNITS: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 3.6e6 };

/** A Go duration in milliseconds: "1.5s", "1m30s". A bare number is `bare` milliseconds each, where that is allowed. */
export function parseDuration(text: string, bare?: number): number {
  if (bare !== undefined && /^\d+$/.test(text)) return Number(text) * bare;
  if (/^[+-]?0$/.test(text)) return 0;
  if (!/^[+-]?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+$/.test(text))
    throw new LogOptionError(`time: invalid duration ${JSON.stringify(text)}`);
  let total = 0;
  for (const [, number, unit] of text.matchAll(/(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)/g))
    total += Number(number) * (UNITS[unit as string] as number);
  return text.startsWith("-") ? -total : total;
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
