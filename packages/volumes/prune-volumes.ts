/** `docker volume prune`: which volumes go, and how much that frees. Whether a prune runs already is not known here. */
import type { Volume } from "#api-types/system.ts";
import { isBerthError } from "#errors/errors.ts";
import { ANONYMOUS_LABEL, pruneFilter } from "#volumes/volume-filters.ts";
import type { VolumeRow, VolumeRows } from "#volumes/volume-rows.ts";

export interface PruneDependencies {
  rows: VolumeRows;
  describe: (row: VolumeRow) => Volume;
  /** Bytes. */
  size: (name: string) => Promise<number>;
  /** Throws "conflict" for a volume in use, "not-found" for one that is gone. */
  remove: (name: string) => Promise<void>;
}

/** Throws "invalid" for a filter that prune does not know. */
export async function pruneVolumes(
  filters: Record<string, string[]>,
  { rows, describe, size, remove }: PruneDependencies,
): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }> {
  const { wanted, anonymousOnly } = pruneFilter(filters);
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const row of rows.all()) {
    if (row.driver !== "local" || Object.keys(row.options).length > 0) continue;
    if (rows.references(row.name).length > 0 || !wanted(describe(row))) continue;
    if (anonymousOnly && row.labels[ANONYMOUS_LABEL] === undefined) continue;
    try {
      const bytes = await size(row.name);
      await remove(row.name);
      deleted.push(row.name);
      reclaimed += bytes;
    } catch (error) {
      // Somebody began to use it, or removed it, while it was measured.
      if (isBerthError(error, "conflict") || isBerthError(error, "not-found")) continue;
      throw error;
    }
  }
  return { VolumesDeleted: deleted, SpaceReclaimed: reclaimed };
}
