/** What can be pruned: where the daemon does it, and how its answer is told. */
import type { ImageDeleteItem } from "#api-types/image.ts";
import { encodeFilters } from "#cli/output/filters.ts";
import type { Client } from "#client/client.ts";

export type Filter = [name: string, value: string];

export interface Pruned {
  /** What was deleted, under its heading; empty if nothing was. */
  text: string;
  /** Bytes; undefined for what has no size. */
  reclaimed: number | undefined;
}

interface Report {
  ContainersDeleted?: string[] | null;
  ImagesDeleted?: ImageDeleteItem[] | null;
  VolumesDeleted?: string[] | null;
  NetworksDeleted?: string[] | null;
  CachesDeleted?: string[] | null;
  SpaceReclaimed?: number;
}

export async function pruneContainers(client: Client, filters: readonly Filter[]): Promise<Pruned> {
  const report = await prune(client, "/containers/prune", filters);
  return pruned("Deleted Containers:", report.ContainersDeleted, report);
}

/** `all`: what has a name too. */
export async function pruneImages(client: Client, filters: readonly Filter[], all: boolean): Promise<Pruned> {
  const report = await prune(client, "/images/prune", [["dangling", String(!all)], ...filters]);
  const lines = report.ImagesDeleted?.map(({ Untagged, Deleted }) =>
    Untagged ? `untagged: ${Untagged}` : `deleted: ${Deleted}`,
  );
  return pruned("Deleted Images:", lines, report);
}

/** `all`: those with a name too. */
export async function pruneVolumes(
  client: Client,
  filters: readonly Filter[],
  all: boolean,
): Promise<Pruned> {
  const report = await prune(client, "/volumes/prune", all ? [["all", "true"], ...filters] : filters);
  return pruned("Deleted Volumes:", report.VolumesDeleted, report);
}

export async function pruneNetworks(client: Client, filters: readonly Filter[]): Promise<Pruned> {
  const report = await prune(client, "/networks/prune", filters);
  return { ...pruned("Deleted Networks:", report.NetworksDeleted, report), reclaimed: undefined };
}

export async function pruneBuildCache(
  client: Client,
  filters: readonly Filter[],
  all: boolean,
): Promise<Pruned> {
  const report = await prune(client, "/build/prune", filters, all ? { all: 1 } : {});
  return pruned("Deleted build cache objects:", report.CachesDeleted, report);
}

function prune(client: Client, path: string, filters: readonly Filter[], query = {}): Promise<Report> {
  return client.json<Report>("POST", path, { query: { ...query, filters: encodeFilters(filters) } });
}

function pruned(heading: string, lines: string[] | null | undefined, report: Report): Pruned {
  const some = lines !== null && lines !== undefined && lines.length > 0;
  return {
    text: some ? `${heading}\n${lines.map((line) => `${line}\n`).join("")}\n` : "",
    reclaimed: report.SpaceReclaimed ?? 0,
  };
}
