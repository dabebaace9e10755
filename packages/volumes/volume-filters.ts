/** `docker volume ls --filter` and `docker volume prune --filter`. Pure. */
import type { Volume } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";

/** Marks volumes that nobody gave a name. */
export const ANONYMOUS_LABEL = "com.docker.volume.anonymous";

const TRUE = ["1", "t", "T", "true", "TRUE", "True"];
const FALSE = ["0", "f", "F", "false", "FALSE", "False"];

/** Throws "invalid" for what prune does not know. */
export function pruneFilter(filters: Record<string, string[]>): {
  wanted: (volume: Volume) => boolean;
  anonymousOnly: boolean;
} {
  const { all = [], ...rest } = filters;
  const unknown = Object.keys(rest).find((name) => name !== "label" && name !== "label!");
  if (unknown !== undefined) throw invalid(`invalid filter '${unknown}'`);
  if (!all.every((value) => TRUE.includes(value)) && !all.every((value) => FALSE.includes(value)))
    throw invalid(`invalid filter 'all=[${all.join(" ")}]'`);
  return {
    wanted: volumeFilter(rest, () => false),
    anonymousOnly: !all.some((value) => TRUE.includes(value)),
  };
}

function invalid(message: string): BerthError {
  return new BerthError("invalid", message, { operation: "prune volumes" });
}

/** Values of one name are alternatives, labels must all hold. Throws "invalid" for an unknown filter. */
export function volumeFilter(
  filters: Record<string, string[]>,
  inUse: (name: string) => boolean,
): (volume: Volume) => boolean {
  for (const name of Object.keys(filters)) {
    if (!["name", "label", "label!", "driver", "dangling"].includes(name)) {
      throw new BerthError("invalid", `invalid filter '${name}'`, {
        operation: "list volumes",
        object: name,
      });
    }
  }
  const has = (volume: Volume, wanted: string): boolean => {
    const [key = "", ...value] = wanted.split("=");
    const labels = volume.Labels ?? {};
    return key in labels && (value.length === 0 || labels[key] === value.join("="));
  };
  const some = (name: string, test: (value: string) => boolean) => {
    const values = filters[name] ?? [];
    return values.length === 0 || values.some(test);
  };
  return (volume) =>
    some("name", (value) => volume.Name.includes(value)) &&
    some("driver", (value) => volume.Driver === value) &&
    some("dangling", (value) => (value === "true" || value === "1") !== inUse(volume.Name)) &&
    (filters.label ?? []).every((label) => has(volume, label)) &&
    (filters["label!"] ?? []).every((label) => !has(volume, label));
}
