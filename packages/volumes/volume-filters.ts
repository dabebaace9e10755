/** `docker volume ls --filter` and `docker volume prune --filter`. Pure; the error texts are Docker's. */
import type { Volume } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";
import { parseBoolean } from "#go-values/boolean.ts";
import { ExpressionError, expressionTest } from "#go-values/expression.ts";

/** Marks volumes that nobody gave a name. */
export const ANONYMOUS_LABEL = "com.docker.volume.anonymous";

type Filters = Record<string, string[]>;

/** Throws "invalid" for what prune does not know. */
export function pruneFilter(filters: Filters): {
  wanted: (volume: Volume) => boolean;
  anonymousOnly: boolean;
} {
  check(filters, ["label", "label!", "all"], "prune volumes");
  const { all = [] } = filters;
  const [value = "false"] = all;
  const everything = parseBoolean(value);
  if (all.length > 1 || everything === undefined) {
    throw invalid(`invalid filter 'all=[${all.join(" ")}]'`, "prune volumes");
  }
  return {
    wanted: (volume) => hasLabels(volume, filters),
    anonymousOnly: !everything,
  };
}

/** Values of one name are alternatives, labels must all hold. Throws "invalid" for an unknown filter. */
export function volumeFilter(
  filters: Filters,
  inUse: (name: string) => boolean,
): (volume: Volume) => boolean {
  check(filters, ["name", "label", "driver", "dangling"], "list volumes");
  const { name = [], driver = [], dangling } = filters;
  const names = name.map(nameTest);
  const unused = dangling === undefined ? undefined : readDangling(dangling);
  return (volume) =>
    (names.length === 0 || names.some((test) => test(volume.Name))) &&
    (driver.length === 0 || driver.includes(volume.Driver)) &&
    (unused === undefined || unused !== inUse(volume.Name)) &&
    hasLabels(volume, filters);
}

function check(filters: Filters, known: string[], operation: string): void {
  const unknown = Object.keys(filters).find((name) => !known.includes(name));
  if (unknown !== undefined) throw invalid(`invalid filter '${unknown}'`, operation);
}

function readDangling(values: string[]): boolean {
  const isTrue = values.includes("1") || values.includes("true");
  const isFalse = values.includes("0") || values.includes("false");
  if (isTrue === isFalse) throw invalid(`invalid filter 'dangling=[${values.join(" ")}]'`, "list volumes");
  return isTrue;
}

/** A pattern found anywhere in the name; what is no pattern is compared as it is. */
function nameTest(pattern: string): (name: string) => boolean {
  try {
    const matches = expressionTest(pattern);
    return (name) => name === pattern || matches(name);
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    return (name) => name === pattern;
  }
}

function hasLabels(volume: Volume, filters: Filters): boolean {
  const has = (wanted: string): boolean => {
    const [key = "", ...value] = wanted.split("=");
    const labels = volume.Labels ?? {};
    return Object.hasOwn(labels, key) && (value.length === 0 || labels[key] === value.join("="));
  };
  return (filters.label ?? []).every(has) && !(filters["label!"] ?? []).some(has);
}

function invalid(message: string, operation: string): BerthError {
  return new BerthError("invalid", message, { operation });
}
