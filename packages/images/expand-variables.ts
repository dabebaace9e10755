/**
 * Variables in the words of a Dockerfile instruction: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+instead}`, and the
 * same without the colon. Values are quoted as far as what reads the words afterwards would take them apart. Pure.
 */
import { BerthError } from "#errors/errors.ts";

/** An environment: the value of a variable, undefined where it is not set. */
export type Lookup = (name: string) => string | undefined;

/**
 * Puts values of variables into a line. Nothing stands for a variable that is not set; inside single quotes and after a
 * backslash a dollar is a dollar. Throws "invalid" for what becomes longer than `limit`.
 */
export function expandVariables(line: string, lookup: Lookup, limit: number): string {
  let result = "";
  let double = false;
  for (let at = 0; at < line.length; ) {
    const character = line[at] as string;
    if (character === "'" && !double) {
      const end = line.indexOf("'", at + 1);
      const stop = end < 0 ? line.length : end + 1;
      result += line.slice(at, stop);
      at = stop;
    } else if (character === "\\") {
      result += line.slice(at, at + 2);
      at += 2;
    } else if (character === "$") {
      const { value, length } = variableAt(line.slice(at), lookup);
      result += double ? value.replace(/["\\]/g, "\\$&") : value.replace(/[\s"'\\]/g, "\\$&");
      at += length;
      if (result.length > limit) throw invalid(`the values of its variables are too long: ${line}`);
    } else {
      if (character === '"') double = !double;
      result += character;
      at += 1;
    }
  }
  return result;
}

function variableAt(text: string, lookup: Lookup): { value: string; length: number } {
  const plain = /^\$([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])/.exec(text);
  if (plain !== null) return { value: lookup(plain[1] ?? "") ?? "", length: plain[0].length };
  if (!text.startsWith("${")) return { value: "$", length: 1 };
  const [whole, name = "", colon, operator, word = ""] =
    /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?)([-+])([^}]*))?\}/.exec(text) ?? [];
  if (whole === undefined) {
    throw invalid(`failed to process "${text}": missing ':' in substitution or '}'`);
  }
  const value = lookup(name);
  const present = colon === ":" ? (value ?? "") !== "" : value !== undefined;
  const chosen =
    operator === "-" ? (present ? value : word) : operator === "+" ? (present ? word : "") : value;
  return { value: chosen ?? "", length: whole.length };
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "apply change" });
}
