/** `docker volume ls --filter`. Pure. */
import type { Volume } from "#api-types/system.ts";
import { BerthError } from "#errors/errors.ts";

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
