/**
 * Variables in the words of a Dockerfile instruction: `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME:+instead}`, and the
 * same without the colon. Values are quoted as far as what reads the words afterwards would take them apart. Pure.
 */
import { BerthError } from "#errors/errors.ts";

/**
 * Puts the values of an environment ("NAME=value") into a line. Nothing stands for a variable that is not set; inside single
 * quotes and after a backslash a dollar is a dollar.
 */
export function expandVariables(line: string, environment: readonly string[]): string {
  const values = new Map(
    environment.map((entry) => {
      const at = entry.indexOf("=");
      return at < 0 ? [entry, ""] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
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
      const { value, length } = variableAt(line.slice(at), values);
      result += double ? value.replace(/["\\]/g, "\\$&") : value.replace(/[\s"'\\]/g, "\\$&");
      at += length;
    } else {
      if (character === '"') double = !double;
      result += character;
      at += 1;
    }
  }
  return result;
}

function variableAt(text: string, values: ReadonlyMap<string, string>): { value: string; length: number } {
  const plain = /^\$([A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-])/.exec(text);
  if (plain !== null) return { value: values.get(plain[1] ?? "") ?? "", length: plain[0].length };
  if (!text.startsWith("${")) return { value: "$", length: 1 };
  const [whole, name = "", colon, operator, word = ""] =
    /^\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?)([-+])([^}]*))?\}/.exec(text) ?? [];
  if (whole === undefined) {
    throw new BerthError("invalid", `failed to process "${text}": missing ':' in substitution or '}'`, {
      operation: "apply change",
    });
  }
  const value = values.get(name);
  const present = colon === ":" ? (value ?? "") !== "" : value !== undefined;
  const chosen =
    operator === "-" ? (present ? value : word) : operator === "+" ? (present ? word : "") : value;
  return { value: chosen ?? "", length: whole.length };
}
