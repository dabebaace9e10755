/** The functions a `--format` may call: Go's own, and those Docker adds. */
import { compare, show, sprintf, truth, type Value } from "#go-template/values.ts";

type TemplateFunction = (...values: Value[]) => Value;

const text = (value: Value) => (typeof value === "string" ? value : show(value));

function index(collection: Value, ...keys: Value[]): Value {
  let value = collection;
  for (const key of keys) {
    if (value === null || value === undefined) throw new Error("index of untyped nil");
    if (Array.isArray(value) || typeof value === "string") {
      const at = Number(key);
      if (!(at >= 0 && at < value.length)) throw new Error(`error calling index: index out of range: ${at}`);
      value = typeof value === "string" ? value.charCodeAt(at) : value[at];
    } else value = (value as Record<string, Value>)[text(key)];
  }
  return value;
}

function slice(value: Value, from: Value = 0, to?: Value): Value {
  if (!Array.isArray(value) && typeof value !== "string")
    throw new Error(`can't slice item of type ${typeof value}`);
  const end = to === undefined ? value.length : Number(to);
  if (Number(from) > end || end > value.length)
    throw new Error(`error calling slice: index out of range: ${end}`);
  return value.slice(Number(from), end);
}

function length(value: Value): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (value === null || typeof value !== "object") throw new Error("error calling len: len of nil pointer");
  return Object.keys(value).length;
}

/** fmt.Sprint: a space between two values where neither is a string. */
function print(...values: Value[]): string {
  return values
    .map((value, i) => {
      const apart = i > 0 && typeof value !== "string" && typeof values[i - 1] !== "string";
      return (apart ? " " : "") + show(value);
    })
    .join("");
}

export const functions: Record<string, TemplateFunction> = {
  json: (value) => JSON.stringify(value ?? null),
  split: (value, separator) => text(value).split(text(separator)),
  join: (list, separator) => (Array.isArray(list) ? list : []).map(text).join(text(separator)),
  title: (value) => text(value).replace(/(^|\s)\S/g, (letter) => letter.toUpperCase()),
  lower: (value) => text(value).toLowerCase(),
  upper: (value) => text(value).toUpperCase(),
  pad: (value, before, after) => " ".repeat(Number(before)) + text(value) + " ".repeat(Number(after)),
  truncate: (value, most) => text(value).slice(0, Number(most)),
  print,
  println: (...values) => `${values.map((value) => show(value)).join(" ")}\n`,
  printf: (format, ...values) => sprintf(text(format), values),
  len: length,
  index,
  slice,
  not: (value) => !truth(value),
  and: (...values) => values.find((value) => !truth(value)) ?? values.at(-1),
  or: (...values) => values.find(truth) ?? values.at(-1),
  eq: (value, ...others) => others.some((other) => (value ?? null) === (other ?? null)),
  ne: (value, other) => (value ?? null) !== (other ?? null),
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
  urlquery: (...values) => encodeURIComponent(print(...values)).replaceAll("%20", "+"),
};
