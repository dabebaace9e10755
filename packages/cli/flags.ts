/**
 * The grammar of Docker's flags: `--name value`, `--name=value`, `-n value`, `-nvalue`, bundled booleans (`-it`),
 * `--` to end them. A command may stop at its first positional (run, exec), so that the rest is the container's.
 * Knows nothing of what flags mean; a flag brings its own `parse`, whose error becomes "invalid argument".
 */
import { notBoolean, parseBoolean } from "#go-values/boolean.ts";

export interface Flag {
  name: string;
  short?: string;
  /** The word for the value in the help; "bool" needs none on the command line. */
  type: string;
  help: string;
  /** Several times, each adds to a list. */
  many?: boolean;
  /** Checks a value and makes it what the command wants; throws Error with Docker's text. Default: the text itself. */
  parse?: (text: string) => unknown;
  /** Accepted, not shown. */
  hidden?: boolean;
}

/** Shown with the usage line: the command line cannot be understood. */
export class UsageError extends Error {
  /** Print "See 'x --help'" instead of the usage block of a bad flag, and exit 1, as Docker does. */
  readonly arguments: boolean;
  constructor(message: string, options: { arguments?: boolean } = {}) {
    super(message);
    this.name = "UsageError";
    this.arguments = options.arguments ?? false;
  }
}

/** What the flags were set to. Asking for a flag that the command does not define is a programming error and throws. */
export class FlagValues {
  readonly #defined: Map<string, Flag>;
  readonly #values = new Map<string, unknown>();
  /** Anything after the flags. */
  readonly positional: string[] = [];

  constructor(flags: readonly Flag[]) {
    this.#defined = new Map(flags.map((flag) => [flag.name, flag]));
  }

  /** Was it given? */
  has(name: string): boolean {
    this.#flag(name);
    return this.#values.has(name);
  }
  bool(name: string): boolean {
    this.#flag(name);
    return this.#values.get(name) === true;
  }
  /** The last value given; "" if none. */
  string(name: string): string {
    return this.value<string>(name) ?? "";
  }
  /** The value as the flag's parse made it. */
  value<T>(name: string): T | undefined {
    this.#flag(name);
    return this.#values.get(name) as T | undefined;
  }
  /** All values, in order. */
  list<T = string>(name: string): T[] {
    this.#flag(name);
    return (this.#values.get(name) as T[] | undefined) ?? [];
  }

  set(flag: Flag, value: unknown): void {
    if (flag.many) this.#values.set(flag.name, [...this.list<unknown>(flag.name), value]);
    else this.#values.set(flag.name, value);
  }

  #flag(name: string): Flag {
    const flag = this.#defined.get(name);
    if (flag === undefined) throw new Error(`no flag --${name} is defined`);
    return flag;
  }
}

/** Parses an argument vector. Throws UsageError. */
export function parseFlags(
  flags: readonly Flag[],
  argv: readonly string[],
  options: { interspersed: boolean },
): FlagValues {
  const values = new FlagValues(flags);
  const byName = new Map(flags.map((flag) => [flag.name, flag]));
  const byShort = new Map(flags.flatMap((flag) => (flag.short ? [[flag.short, flag] as const] : [])));
  const rest = [...argv];
  for (let argument = rest.shift(); argument !== undefined; argument = rest.shift()) {
    if (argument === "--") {
      values.positional.push(...rest);
      break;
    }
    if (argument.startsWith("--")) longFlag(argument.slice(2), byName, rest, values);
    else if (argument.startsWith("-") && argument.length > 1) shortFlags(argument, byShort, rest, values);
    else {
      values.positional.push(argument);
      if (!options.interspersed) {
        values.positional.push(...rest);
        break;
      }
    }
  }
  return values;
}

function longFlag(text: string, byName: Map<string, Flag>, rest: string[], values: FlagValues): void {
  const equals = text.indexOf("=");
  const name = equals < 0 ? text : text.slice(0, equals);
  const flag = byName.get(name);
  if (!flag) throw new UsageError(`unknown flag: --${name}`);
  if (equals >= 0) setFlag(flag, text.slice(equals + 1), values);
  else if (flag.type === "bool") setFlag(flag, "true", values);
  else {
    const value = rest.shift();
    if (value === undefined) throw new UsageError(`flag needs an argument: --${name}`);
    setFlag(flag, value, values);
  }
}

function shortFlags(bundle: string, byShort: Map<string, Flag>, rest: string[], values: FlagValues): void {
  for (let at = 1; at < bundle.length; at++) {
    const letter = bundle[at] ?? "";
    const flag = byShort.get(letter);
    if (!flag) throw new UsageError(`unknown shorthand flag: '${letter}' in ${bundle}`);
    const tail = bundle.slice(at + 1);
    if (flag.type === "bool" && !tail.startsWith("=")) {
      setFlag(flag, "true", values);
      continue;
    }
    const value = tail.startsWith("=") ? tail.slice(1) : tail !== "" ? tail : rest.shift();
    if (value === undefined) throw new UsageError(`flag needs an argument: '${letter}' in ${bundle}`);
    setFlag(flag, value, values);
    return;
  }
}

function setFlag(flag: Flag, text: string, values: FlagValues): void {
  try {
    values.set(flag, (flag.parse ?? (flag.type === "bool" ? parseBool : String))(text));
  } catch (error) {
    const name = flag.short ? `-${flag.short}, --${flag.name}` : `--${flag.name}`;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`invalid argument "${text}" for "${name}" flag: ${reason}`);
  }
}

/** The words Go's strconv.ParseBool takes. */
export function parseBool(text: string): boolean {
  const parsed = parseBoolean(text);
  if (parsed === undefined) throw new Error(notBoolean(text));
  return parsed;
}

/** A number of 16 bits without a sign. Throws what Go says. */
export function parseUint16(value: string): number {
  if (!/^\d+$/.test(value)) throw new Error(`strconv.ParseUint: parsing "${value}": invalid syntax`);
  if (Number(value) > 65535) throw new Error(`strconv.ParseUint: parsing "${value}": value out of range`);
  return Number(value);
}

/** A whole number as Go's strconv.ParseInt with base 0 takes it. */
export function parseInteger(text: string): number {
  if (!/^[+-]?(0[xX][0-9a-fA-F]+|0[oO]?[0-7]*|0[bB][01]+|[1-9]\d*)$/.test(text))
    throw new Error(`strconv.ParseInt: parsing "${text}": invalid syntax`);
  const digits = text.replace(/^[+-]/, "").replace(/^0([0-7]+)$/, "0o$1");
  const value = Number(digits) * (text.startsWith("-") ? -1 : 1);
  if (!Number.isSafeInteger(value))
    throw new Error(`strconv.ParseInt: parsing "${text}": value out of range`);
  return value;
}
