/**
 * Reads a command line as runc's users write it: options come before the first plain word, what follows it is taken as it
 * is (an exec's command has options of its own). One dash or two, `--name value` or `--name=value`. Pure.
 */
import { BerthError } from "#errors/errors.ts";

export type OptionKind = "flag" | "value" | "list" | "number";

/** Name → kind; further names after it, as in "detach d". */
export type OptionTable = Record<string, OptionKind>;

export interface Arguments {
  flag(name: string): boolean;
  value(name: string): string | undefined;
  list(name: string): string[];
  /** Throws "invalid" for what is no number. */
  number(name: string): number | undefined;
  /** From the first plain word on. */
  rest: string[];
}

/** Throws "invalid" for an unknown option, or one without its value. */
export function readArguments(argv: readonly string[], table: OptionTable): Arguments {
  const names = new Map<string, string>();
  const kinds = new Map<string, OptionKind>();
  for (const [key, kind] of Object.entries(table)) {
    const [name = "", ...others] = key.split(" ");
    kinds.set(name, kind);
    for (const alias of [name, ...others]) names.set(alias, name);
  }
  const values = new Map<string, string[]>();
  let at = 0;
  for (; at < argv.length; at++) {
    const word = argv[at] ?? "";
    if (word === "--") {
      at++;
      break;
    }
    if (!word.startsWith("-") || word === "-") break;
    const [, written = "", , given] = /^--?([^=]*)(=([\s\S]*))?$/.exec(word) ?? [];
    const name = names.get(written);
    if (name === undefined) throw usage(`flag provided but not defined: -${written}`);
    if (kinds.get(name) === "flag") {
      if (given !== undefined && given !== "true" && given !== "false") {
        throw usage(`invalid boolean value ${JSON.stringify(given)} for -${written}`);
      }
      values.set(name, [given ?? "true"]);
      continue;
    }
    const value = given ?? argv[++at];
    if (value === undefined) throw usage(`flag needs an argument: -${written}`);
    values.set(name, [...(values.get(name) ?? []), value]);
  }
  return {
    flag: (name) => values.get(name)?.at(-1) === "true",
    value: (name) => values.get(name)?.at(-1),
    list: (name) => values.get(name) ?? [],
    number: (name) => {
      const text = values.get(name)?.at(-1);
      if (text === undefined) return undefined;
      if (!/^-?\d{1,19}$/.test(text)) throw usage(`invalid value ${JSON.stringify(text)} for flag -${name}`);
      return Number(text);
    },
    rest: argv.slice(at),
  };
}

/** Exactly these plain words. */
export function takeWords(command: string, rest: readonly string[], ...names: string[]): string[] {
  if (rest.length < names.length) throw usage(`${command}: ${names[rest.length]} is missing`);
  if (rest.length > names.length) {
    throw usage(`${command}: unexpected argument ${JSON.stringify(rest[names.length])}`);
  }
  return [...rest];
}

/** A command line that cannot be meant. */
export class UsageError extends BerthError {
  constructor(message: string) {
    super("invalid", message, { operation: "read command line", hint: "see berth-oci --help" });
  }
}

export function usage(message: string): UsageError {
  return new UsageError(message);
}
