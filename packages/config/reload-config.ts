/**
 * The part of the configuration that may change while the daemon runs (SIGHUP). Every part of the daemon holds the one
 * configuration object, and lists in it: they are changed in place, all or none.
 */
import type { DaemonConfig } from "#config/config-types.ts";

/** What takes effect at once. Everything else waits for the next start. */
const RELOADABLE = [
  ...(["debug", "logLevel", "labels", "shutdownTimeout"] as const),
  ...(["insecureRegistries", "registryMirrors"] as const),
  ...(["maxConcurrentDownloads", "maxConcurrentUploads", "maxDownloadAttempts"] as const),
  ...(["defaultShmSize", "defaultIpcMode", "defaultCgroupnsMode", "defaultUlimits", "init"] as const),
  ...(["logDriver", "logOpts", "authorizationPlugins"] as const),
] satisfies (keyof DaemonConfig)[];

const reloadable: ReadonlySet<string> = new Set(RELOADABLE);

/** Takes over what may change; answers the names of what did, and of what would have to wait. */
export function reloadConfig(
  current: DaemonConfig,
  next: DaemonConfig,
): { changed: string[]; waiting: string[] } {
  const differing = (Object.keys(next) as (keyof DaemonConfig)[]).filter(
    (name) => JSON.stringify(current[name]) !== JSON.stringify(next[name]),
  );
  const changed = differing.filter((name) => reloadable.has(name));
  for (const name of changed) {
    const [held, wanted] = [current[name], next[name]];
    if (Array.isArray(held) && Array.isArray(wanted)) held.splice(0, held.length, ...(wanted as never[]));
    else Object.assign(current, { [name]: wanted });
  }
  return { changed, waiting: differing.filter((name) => !reloadable.has(name)) };
}
