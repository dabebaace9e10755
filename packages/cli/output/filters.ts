/** --filter name=value, given several times, as the API's filters parameter. */
import type { Flag } from "#cli/flags.ts";

function parseFilter(text: string): [string, string] {
  const equals = text.indexOf("=");
  if (equals < 0) throw new Error("bad format of filter (expected name=value)");
  return [text.slice(0, equals).trim().toLowerCase(), text.slice(equals + 1).trim()];
}

export const filterFlag: Flag = {
  name: "filter",
  short: "f",
  type: "filter",
  many: true,
  parse: parseFilter,
  help: "Only what fits (name=value)",
};

/** JSON for the query; undefined when there is no filter. */
export function encodeFilters(filters: readonly (readonly [string, string])[]): string | undefined {
  if (filters.length === 0) return undefined;
  const byName: Record<string, Record<string, true>> = {};
  for (const [name, value] of filters) byName[name] = { ...byName[name], [value]: true };
  return JSON.stringify(byName);
}
