/** A path in a container, as the daemon describes it. */
import { posix } from "node:path";
import { keepEnd, type Place } from "#cli/cp/copy-paths.ts";
import type { Client } from "#client/client.ts";

export interface ContainerPathStatus {
  name: string;
  size: number;
  /** In the order of Go's os.FileMode. */
  mode: number;
  mtime: string;
  linkTarget: string;
}

const goDirectory = 2 ** 31;
const goSymlink = 2 ** 27;

export function isDirectory({ mode }: ContainerPathStatus): boolean {
  return Math.floor(mode / goDirectory) % 2 === 1;
}

export function isSymlink({ mode }: ContainerPathStatus): boolean {
  return Math.floor(mode / goSymlink) % 2 === 1;
}

export function archivePath(container: string): string {
  return `/containers/${encodeURIComponent(container)}/archive`;
}

/** Undefined where the daemon has nothing to say: there may be nothing. */
export async function statContainerPath(
  client: Client,
  container: string,
  path: string,
): Promise<ContainerPathStatus | undefined> {
  try {
    const answer = await client.request("HEAD", archivePath(container), { query: { path } });
    answer.resume();
    return decodeStatus(answer.headers["x-docker-container-path-stat"]);
  } catch (error) {
    if (error instanceof Error && error.name === "DaemonError") return undefined;
    throw error;
  }
}

export function decodeStatus(header: string | string[] | undefined): ContainerPathStatus | undefined {
  if (typeof header !== "string") return undefined;
  return JSON.parse(Buffer.from(header, "base64").toString("utf8")) as ContainerPathStatus;
}

/** A destination; a link at its end is followed once, as the daemon says it leads. */
export async function containerPlace(client: Client, container: string, given: string): Promise<Place> {
  const path = keepEnd(posix.resolve("/", given), given);
  const status = await statContainerPath(client, container, path);
  if (status === undefined) return { path, exists: false, isDirectory: false };
  if (!isSymlink(status)) return { path, exists: true, isDirectory: isDirectory(status) };
  const target = await statContainerPath(client, container, status.linkTarget);
  const kind = target !== undefined && isDirectory(target);
  return { path: status.linkTarget, exists: target !== undefined, isDirectory: kind };
}
