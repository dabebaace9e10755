/** Values as Go's templates see them: what is true, how a value prints, how two compare. */

export type Value = unknown;

/** A pointer of Go's that is nil: where its type is known it prints as that, unlike a value that isn't there. */
export const nilPointer: Value = Object.freeze({ toJSON: () => null });

/** Anything but false, 0, "", nil and the empty list or map. */
export function truth(value: Value): boolean {
  if (value === null || value === undefined || value === false || value === 0 || value === "") return false;
  if (value === nilPointer) return false;
  if (Array.isArray(value)) return value.length > 0;
  return typeof value !== "object" || Object.keys(value).length > 0;
}

/** As fmt's %v: lists in brackets, maps sorted by key. */
export function show(value: Value, top = true): string {
  if (value === null || value === undefined) return top ? "<no value>" : "<nil>";
  if (value === nilPointer) return "<nil>";
  if (Array.isArray(value)) return `[${value.map((item) => show(item, false)).join(" ")}]`;
  if (typeof value === "object") {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${entries.map(([key, item]) => `${key}:${show(item, false)}`).join(" ")}]`;
  }
  return String(value);
}

/** fmt.Sprintf's verbs, as far as formats use them. */
export function sprintf(format: string, values: readonly Value[]): string {
  let next = 0;
  const text = format.replace(
    /%([-+ #0]*)(\d*)(?:\.(\d+))?([a-zA-Z%])/g,
    (_, flags, width, precision, verb) => {
      if (verb === "%") return "%";
      if (next >= values.length) return `%!${verb}(MISSING)`;
      let shown = verbText(verb, values[next++], precision as string | undefined);
      if (flags.includes("+") && "dfv".includes(verb) && /^\d/.test(shown)) shown = `+${shown}`;
      const pad = flags.includes("0") && !flags.includes("-") ? "0" : " ";
      return flags.includes("-") ? shown.padEnd(Number(width)) : shown.padStart(Number(width), pad);
    },
  );
  if (next >= values.length) return text;
  return `${text}%!(EXTRA ${values
    .slice(next)
    .map((value) => `${typeof value}=${show(value)}`)
    .join(", ")})`;
}

function verbText(verb: string, value: Value, precision: string | undefined): string {
  const limit = precision === undefined ? undefined : Number(precision);
  if (verb === "q") return Array.isArray(value) ? `[${value.map(quote).join(" ")}]` : quote(value);
  if (verb === "x" || verb === "X") {
    const hex = typeof value === "number" ? value.toString(16) : Buffer.from(show(value)).toString("hex");
    return verb === "X" ? hex.toUpperCase() : hex;
  }
  if (verb === "o" || verb === "b") return Number(value).toString(verb === "o" ? 8 : 2);
  if (verb === "c") return String.fromCodePoint(Number(value));
  if (verb === "f" || verb === "F") return Number(value).toFixed(limit ?? 6);
  if (verb === "e") return Number(value).toExponential(limit ?? 6);
  if (verb === "T") return typeof value;
  if (!"svdtg".includes(verb)) return `%!${verb}(${show(value)})`;
  const shown = show(value, false);
  return limit === undefined || verb === "d" ? shown : [...shown].slice(0, limit).join("");
}

function quote(value: Value): string {
  return JSON.stringify(show(value));
}

/** -1, 0, 1. Throws Error for values that have no order between them. */
export function compare(a: Value, b: Value): number {
  if (typeof a !== typeof b || (typeof a !== "number" && typeof a !== "string"))
    throw new Error("incompatible types for comparison");
  return a === b ? 0 : (a as string) < (b as string) ? -1 : 1;
}
