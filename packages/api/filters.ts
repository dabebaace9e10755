/** Docker's `filters` parameter: JSON in one of two forms, decoded to name → values. */

import type { Filters } from "#engine/engine-types.ts";
import { parseJson } from "#errors/bounded-json.ts";
import { BerthError } from "#errors/errors.ts";

/**
 * Reads {"label":{"a=b":true}} and the older {"label":["a=b"]}; in the first form the booleans say nothing.
 * Empty gives no filters. Throws "invalid" with Docker's text, and nothing else, for anything else.
 */
export function decodeFilters(text: string): Filters {
  if (text === "") return {};
  let decoded: unknown;
  try {
    decoded = parseJson(text);
  } catch (cause) {
    throw invalidFilter(cause);
  }
  // As in Docker, where null is the empty map.
  if (decoded === null) return {};
  if (typeof decoded !== "object" || Array.isArray(decoded)) throw invalidFilter();
  // fromEntries makes own properties even of "__proto__".
  return Object.fromEntries(Object.entries(decoded).map(([name, values]) => [name, decodeValues(values)]));
}

function decodeValues(values: unknown): string[] {
  if (values === null) return [];
  if (Array.isArray(values)) {
    if (!values.every((value) => typeof value === "string")) throw invalidFilter();
    return [...new Set<string>(values)];
  }
  if (typeof values !== "object") throw invalidFilter();
  if (!Object.values(values as object).every((value) => typeof value === "boolean")) throw invalidFilter();
  return Object.keys(values as object);
}

function invalidFilter(cause?: unknown): BerthError {
  return new BerthError("invalid", "invalid filter", { operation: "read filters", cause });
}
