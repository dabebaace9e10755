/**
 * Configurations as JSON and back. Values of seccomp conditions have 64 bits, more than a number holds: those that don't
 * fit are read as bigints, and written as what they were. A member that is null is one that isn't there: that is how
 * programs in Go write what is empty. Pure.
 */

/** The only names such values have (config-linux.md, "Seccomp"). */
const WIDE = new Set(["value", "valueTwo"]);
/** So many digits may be more than 2^53. */
const SPECIAL = /\d{16}|\bnull\b/;

/** Throws SyntaxError. */
export function parseSpecJson(text: string): unknown {
  return SPECIAL.test(text) ? JSON.parse(text, readMember) : JSON.parse(text);
}

export function stringifySpecJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "bigint" ? rawJson(String(member)) : member,
  );
}

function readMember(this: unknown, key: string, value: unknown, context?: { source?: string }): unknown {
  if (value === null && !Array.isArray(this)) return undefined;
  const source = context?.source;
  if (typeof value !== "number" || !WIDE.has(key) || source === undefined) return value;
  return Number.isSafeInteger(value) || !/^-?\d+$/.test(source) ? value : BigInt(source);
}

// Newer than the language's version that the types are of.
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON;
