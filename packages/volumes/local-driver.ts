/**
 * The local driver: a volume is the directory `<data-root>/volumes/<name>/_data`, and with options what is mounted there.
 *
 * Owns these directories. Never deletes what lies behind a mount: whatever is mounted in a volume is unmounted before it
 * is removed, or it stays.
 */
import { existsSync, rmdirSync } from "node:fs";
import { chmod, chown, mkdir, readdir, realpath, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { readMountInfo } from "#kernel/mountinfo.ts";
import { startThread } from "#kernel/threads.ts";
import type { LayerView } from "#storage/driver-types.ts";
import { missingQuota, ProjectLimits } from "#storage/quota/project-limits.ts";
import { isAtOrBelow, LocalMounts } from "#volumes/local-mounts.ts";
import { checkLocalOptions, type LocalOptions, needsMount, sizeLimit } from "#volumes/local-options.ts";
import type { DriverVolume, VolumeDriver } from "#volumes/volume-driver.ts";
import { checkVolumeName, VOLUME_NAME } from "#volumes/volume-name.ts";

/** Not a volume name: names begin with a letter or digit. */
const REMOVED_PREFIX = ".removed-";

export interface LocalDriverOptions {
  dataRoot: string;
  /** Whose new volumes are: root's, or whom containers' root is on the host. */
  owner: { uid: number; gid: number };
  /** Of a volume that is there. */
  optionsOf: (name: string) => LocalOptions;
}

export class LocalDriver implements VolumeDriver {
  readonly name = "local";
  readonly #root: string;
  /** The same without links, as the kernel tells of what is mounted. */
  #realRoot: string;
  readonly #owner: LocalDriverOptions["owner"];
  readonly #optionsOf: (name: string) => LocalOptions;
  readonly #mounts = new LocalMounts();
  /** Of sizes, where the file system keeps them. */
  #limits: ProjectLimits | undefined;

  constructor({ dataRoot, owner, optionsOf }: LocalDriverOptions) {
    this.#root = join(dataRoot, "volumes");
    this.#realRoot = this.#root;
    this.#owner = owner;
    this.#optionsOf = optionsOf;
  }

  /**
   * Finishes removals and makes missing directories of `known`. Answers names of directories that nobody knows, and of
   * volumes whose removal was cut short and is done now.
   */
  async start(known: ReadonlySet<string>): Promise<{ found: string[]; removed: string[] }> {
    // 0701: containers with a user namespace must pass through, nobody may list.
    await mkdir(this.#root, { recursive: true, mode: 0o701 });
    this.#realRoot = await realpath(this.#root);
    this.#limits = ProjectLimits.in(this.#realRoot);
    const found: string[] = [];
    const removed: string[] = [];
    for (const entry of await readdir(this.#root)) {
      const name = entry.slice(REMOVED_PREFIX.length);
      if (entry.startsWith(REMOVED_PREFIX)) {
        const doomed = join(this.#realRoot, entry);
        const tells = known.has(name) && !existsSync(join(this.#root, name));
        if (tells) removed.push(name);
        // What cannot go now (somebody has something mounted there) is tried by the next start, and keeps nobody from this.
        await (tells ? this.#empty(doomed) : this.#delete(doomed)).catch(() => undefined);
      } else if (VOLUME_NAME.test(entry) && !known.has(entry) && existsSync(this.path(entry)))
        found.push(entry);
    }
    const mounted = new Set(readMountInfo().map(({ mountPoint }) => mountPoint));
    for (const name of known) {
      // What is mounted is there, and its server may not answer.
      if (mounted.has(this.#target(name)) || removed.includes(name)) continue;
      await this.#makeData(name);
    }
    return { found, removed };
  }

  path(name: string): string {
    return join(this.#root, name, "_data");
  }

  /** Where the kernel has it mounted. */
  #target(name: string): string {
    return join(this.#realRoot, name, "_data");
  }

  async scope(): Promise<"local"> {
    return "local";
  }

  /** Throws "invalid" with Docker's texts; makes nothing. */
  check(name: string, options: Record<string, string>): void {
    checkVolumeName(name);
    checkLocalOptions(options, name, () =>
      this.#limits === undefined ? missingQuota(this.#root) : undefined,
    );
  }

  async create(name: string, options: LocalOptions): Promise<void> {
    const place = join(this.#root, name);
    const made = await mkdir(place, { mode: 0o701, recursive: true });
    const size = sizeLimit(options);
    // Before there is anything in it: what is made there inherits.
    try {
      if (made !== undefined && size !== undefined) this.#limits?.apply(place, size);
      await this.#makeData(name);
    } catch (error) {
      // Its row goes, and nobody would know of it.
      if (made !== undefined) await rm(place, { recursive: true, force: true }).catch(() => undefined);
      throw error;
    }
  }

  async #makeData(name: string): Promise<void> {
    const made = await mkdir(this.path(name), { mode: 0o755, recursive: true });
    if (made !== undefined) await chown(this.path(name), this.#owner.uid, this.#owner.gid);
  }

  async get(name: string): Promise<DriverVolume> {
    return { name, mountpoint: this.path(name) };
  }

  /** The service's rows are the list. */
  async list(): Promise<DriverVolume[]> {
    return [];
  }

  async remove(name: string): Promise<void> {
    const place = join(this.#realRoot, name);
    await this.#mounts.clear(place);
    refuseMounted(place);
    // Out of the way in one step; a crash during the deletion is finished at the next start.
    const doomed = join(this.#realRoot, `${REMOVED_PREFIX}${name}`);
    // What is left of a former one of this name.
    if (existsSync(doomed)) await this.#delete(doomed);
    if (existsSync(place)) {
      this.#limits?.release(place);
      await rename(place, doomed);
    } else {
      await mkdir(doomed, { mode: 0o700 });
    }
    // It is no volume any more, and must not be called one, whatever fails now: the next start finishes this.
    await this.#empty(doomed).catch(() => {});
  }

  /** No row speaks of a removed volume any more: nothing has to tell the next start that it is gone. */
  forget(name: string): void {
    try {
      rmdirSync(join(this.#realRoot, `${REMOVED_PREFIX}${name}`));
    } catch {
      // Of what is in it something could not be deleted; the next start tries again.
    }
  }

  async mount(name: string, user: string): Promise<string> {
    await this.#mounts.acquire(this.#target(name), user, this.#optionsOf(name));
    return this.path(name);
  }

  async unmount(name: string, user: string): Promise<void> {
    await this.#mounts.release(this.#target(name), user, this.#optionsOf(name));
  }

  /** A container that ran before this daemon did still has it. */
  adopt(name: string, user: string): void {
    this.#mounts.adopt(this.#target(name), user);
  }

  /** Unmounts what containers had that ended while no daemon was there. Answers what could not be. */
  async unmountUnused(): Promise<{ path: string; error: unknown }[]> {
    const failed: { path: string; error: unknown }[] = [];
    const below = readMountInfo().filter(({ mountPoint }) => isAtOrBelow(mountPoint, this.#realRoot));
    for (const { mountPoint } of below) {
      if (this.#mounts.isUsed(mountPoint) || !mountPoint.endsWith("/_data")) continue;
      await this.#mounts
        .clear(mountPoint)
        .catch((error: unknown) => failed.push({ path: mountPoint, error }));
    }
    return failed;
  }

  /**
   * Fills a volume that is mounted for this. A mere directory is filled beside and moved into place: half a copy never
   * counts as content. `shared`: others may have the directory mounted, it has to stay the same one.
   */
  async populate(name: string, layers: LayerView, path: string, shared: () => boolean): Promise<void> {
    if (needsMount(this.#optionsOf(name))) {
      await copyUp({ layers, path, target: this.path(name) });
      return;
    }
    const filling = join(this.#root, name, "_filling");
    await rm(filling, { recursive: true, force: true });
    await mkdir(filling, { mode: 0o755 });
    await chown(filling, this.#owner.uid, this.#owner.gid);
    try {
      await copyUp({ layers, path, target: filling });
      if (shared()) await moveInto(filling, this.path(name));
      else await rename(filling, this.path(name));
    } catch (error) {
      await rm(filling, { recursive: true, force: true });
      throw error;
    }
  }

  async #delete(path: string): Promise<void> {
    await this.#empty(path);
    await rm(path, { recursive: true, force: true });
  }

  async #empty(path: string): Promise<void> {
    await this.#mounts.clear(path);
    refuseMounted(path);
    for (const name of await readdir(path)) await rm(join(path, name), { recursive: true, force: true });
  }
}

/** Throws if anything is mounted there: it would be deleted along. */
function refuseMounted(path: string): void {
  const left = readMountInfo().find(({ mountPoint }) => isAtOrBelow(mountPoint, path));
  if (left !== undefined) {
    throw new BerthError("internal", `something is still mounted on ${left.mountPoint}`, {
      operation: "remove volume",
      object: path,
      hint: "unmount it, then remove the volume again",
    });
  }
}

/** Copies the merged view of layers at `path` into a directory, in a worker. */
export function copyUp(data: { layers: LayerView; path: string; target: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = startThread(new URL("./copy-up-worker.ts", import.meta.url), { workerData: data });
    worker.once("error", reject);
    worker.once("exit", (code) =>
      code === 0 ? resolve() : reject(new Error(`the copy ended with code ${code}`)),
    );
  });
}

/** Moves what is in a directory, and its owner and mode, to one that stays. */
async function moveInto(from: string, to: string): Promise<void> {
  const { uid, gid, mode } = await stat(from);
  await chown(to, uid, gid);
  await chmod(to, mode & 0o7777);
  for (const name of await readdir(from)) await rename(join(from, name), join(to, name));
  await rm(from, { recursive: true });
}
