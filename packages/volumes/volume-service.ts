/**
 * The local volume driver: named directories with rows beside them.
 *
 * A row is written before its directory is made and deleted after that is gone. References of containers are rows
 * too, so that a volume in use is not removed after a restart.
 */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, chown, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import type { Volume, VolumeCreateRequest } from "#api-types/system.ts";
import { BerthError, isBerthError } from "#errors/errors.ts";
import type { Database, Migrations } from "#state/database.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { LocalMounts } from "#volumes/local-mounts.ts";
import { checkVolumeName, VOLUME_NAME } from "#volumes/mount-spec.ts";
import { ANONYMOUS_LABEL, pruneFilter, volumeFilter } from "#volumes/volume-filters.ts";
import type { MountedWhere, VolumeService } from "#volumes/volume-types.ts";

export const volumeMigrations: Migrations = {
  area: "volumes",
  steps: [
    `CREATE TABLE volume (
       name TEXT PRIMARY KEY,
       created TEXT NOT NULL,
       labels TEXT NOT NULL,
       options TEXT NOT NULL
     ) STRICT;
     CREATE TABLE volume_reference (
       volume TEXT NOT NULL REFERENCES volume (name),
       container TEXT NOT NULL,
       PRIMARY KEY (volume, container)
     ) STRICT`,
  ],
};

export interface VolumeOptions {
  database: Database;
  dataRoot: string;
  /** Whose new volumes are: root's, or whom containers' root is on the host. */
  owner?: { uid: number; gid: number };
  onEvent: (
    action: "create" | "destroy" | "mount" | "unmount" | "prune",
    name: string,
    attributes: Record<string, string>,
  ) => void;
}

interface Row {
  name: string;
  created: string;
  labels: string;
  options: string;
}

export function createVolumeService(options: VolumeOptions): VolumeService {
  return new LocalVolumes(options);
}

class LocalVolumes implements VolumeService {
  readonly #database: Database;
  readonly #root: string;
  readonly #owner: { uid: number; gid: number };
  readonly #onEvent: VolumeOptions["onEvent"];
  readonly #mounts = new LocalMounts();
  readonly #measuring = new StorageWorkers(1);
  /** Creations and removals of one name wait for each other. */
  readonly #busy = new Map<string, Promise<unknown>>();

  constructor({ database, dataRoot, owner, onEvent }: VolumeOptions) {
    this.#owner = owner ?? { uid: 0, gid: 0 };
    this.#database = database;
    this.#root = join(dataRoot, "volumes");
    this.#onEvent = onEvent;
  }

  async start(): Promise<void> {
    // 0701: containers with a user namespace must pass through, nobody may list.
    await mkdir(this.#root, { recursive: true, mode: 0o701 });
    for (const name of await readdir(this.#root)) {
      if (name.startsWith(REMOVED_PREFIX)) await rm(join(this.#root, name), { recursive: true, force: true });
      else if (VOLUME_NAME.test(name) && this.#row(name) === undefined) await this.#adopt(name);
    }
    for (const { name } of this.#rows()) await this.#makeData(name);
  }

  async create(request: VolumeCreateRequest): Promise<Volume> {
    const name = request.Name || randomBytes(32).toString("hex");
    checkVolumeName(name);
    if (request.Driver && request.Driver !== "local") {
      throw new BerthError(
        "not-found",
        `create ${name}: error looking up volume plugin ${request.Driver}: plugin "${request.Driver}" not found`,
        {
          operation: "create volume",
          object: name,
          hint: "the driver there is, is local",
        },
      );
    }
    const options = request.DriverOpts ?? {};
    LocalMounts.check(options, name);
    return this.#exclusively(name, async () => {
      const existing = this.#row(name);
      if (existing !== undefined) {
        if (Object.keys(options).length > 0 && existing.options !== JSON.stringify(options)) {
          throw new BerthError("conflict", `volume ${name} already exists with other options`, {
            operation: "create volume",
            object: name,
            hint: "remove it first, or choose another name",
          });
        }
        return this.#describe(existing);
      }
      const labels = request.Name ? request.Labels : { [ANONYMOUS_LABEL]: "", ...request.Labels };
      const row = this.#insert(name, labels ?? {}, options);
      await mkdir(join(this.#root, name), { mode: 0o701, recursive: true });
      await this.#makeData(name);
      this.#onEvent("create", name, { driver: "local" });
      return this.#describe(row);
    });
  }

  inspect(name: string): Volume {
    return this.#describe(this.#mustExist(name));
  }

  list(filters: Record<string, string[]>): { Volumes: Volume[]; Warnings: string[] } {
    const passes = volumeFilter(filters, (name) => this.#users(name).length > 0);
    return {
      Volumes: this.#rows()
        .map((row) => this.#describe(row))
        .filter(passes),
      Warnings: [],
    };
  }

  async remove(name: string, force: boolean): Promise<void> {
    await this.#exclusively(name, async () => {
      const row = this.#row(name);
      if (row === undefined) {
        if (force) return;
        throw notFound(name);
      }
      const users = this.#users(name);
      if (users.length > 0) {
        throw new BerthError("conflict", `remove ${name}: volume is in use - [${users.join(", ")}]`, {
          operation: "remove volume",
          object: name,
          hint: "remove the containers that use it first",
        });
      }
      await this.#mounts.release(name);
      // Out of the way in one step; a crash during the deletion is finished at the next start.
      const doomed = join(this.#root, `${REMOVED_PREFIX}${name}`);
      if (existsSync(join(this.#root, name))) await rename(join(this.#root, name), doomed);
      this.#database.durably(() => this.#database.run("DELETE FROM volume WHERE name = ?", name));
      await rm(doomed, { recursive: true, force: true });
      this.#onEvent("destroy", name, { driver: "local" });
    });
  }

  async prune(
    filters: Record<string, string[]>,
  ): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }> {
    const { wanted, anonymousOnly } = pruneFilter(filters);
    const deleted: string[] = [];
    let reclaimed = 0;
    for (const row of this.#rows()) {
      const volume = this.#describe(row);
      if (this.#users(row.name).length > 0 || volume.Options !== null || !wanted(volume)) continue;
      if (anonymousOnly && volume.Labels?.[ANONYMOUS_LABEL] === undefined) continue;
      const bytes = await this.#size(row.name);
      try {
        await this.remove(row.name, false);
      } catch (error) {
        // Somebody began to use it, or removed it, while it was measured.
        if (isBerthError(error, "conflict") || isBerthError(error, "not-found")) continue;
        throw error;
      }
      deleted.push(row.name);
      reclaimed += bytes;
    }
    this.#onEvent("prune", "", { reclaimed: String(reclaimed) });
    return { VolumesDeleted: deleted, SpaceReclaimed: reclaimed };
  }

  async usage(name: string): Promise<{ Size: number; RefCount: number }> {
    this.#mustExist(name);
    return { Size: await this.#size(name), RefCount: this.#users(name).length };
  }

  reference(name: string, containerId: string): void {
    this.#mustExist(name);
    this.#database.run("INSERT OR IGNORE INTO volume_reference VALUES (?, ?)", name, containerId);
  }

  dereference(name: string, containerId: string): void {
    this.#database.run("DELETE FROM volume_reference WHERE volume = ? AND container = ?", name, containerId);
  }

  async mount(name: string, containerId: string, where?: MountedWhere): Promise<string> {
    const row = this.#mustExist(name);
    await this.#mounts.acquire(name, containerId, this.#data(name), JSON.parse(row.options));
    if (where !== undefined) {
      this.#onEvent("mount", name, {
        container: containerId,
        destination: where.destination,
        driver: "local",
        propagation: where.propagation,
        "read/write": String(!where.readOnly),
      });
    }
    return this.#data(name);
  }

  async unmount(name: string, containerId: string): Promise<void> {
    if (await this.#mounts.releaseUser(name, containerId)) {
      this.#onEvent("unmount", name, { driver: "local", container: containerId });
    }
  }

  async isEmpty(name: string): Promise<boolean> {
    return (await readdir(this.#data(name))).length === 0;
  }

  async copyUp(name: string, layerDirectories: string[], path: string): Promise<void> {
    // Filled beside, then moved into place: half a copy never counts as content.
    const filling = join(this.#root, name, "_filling");
    await rm(filling, { recursive: true, force: true });
    await mkdir(filling, { mode: 0o755 });
    await chown(filling, this.#owner.uid, this.#owner.gid);
    try {
      await runCopyUp({ layers: layerDirectories, path, target: filling });
      // Another container may have the directory mounted: it has to stay the same one then.
      if (this.#users(name).length > 1) await moveInto(filling, this.#data(name));
      else await rename(filling, this.#data(name));
    } catch (cause) {
      await rm(filling, { recursive: true, force: true });
      throw new BerthError(
        "internal",
        `failed to populate volume ${name} from ${path}: ${cause instanceof Error ? cause.message : cause}`,
        {
          operation: "populate volume",
          object: name,
          cause,
        },
      );
    }
  }

  /** As new, if it isn't there. */
  async #makeData(name: string): Promise<void> {
    const made = await mkdir(this.#data(name), { mode: 0o755, recursive: true });
    if (made !== undefined) await chown(this.#data(name), this.#owner.uid, this.#owner.gid);
  }

  /** A directory under volumes/ without a row: put there by hand, or its row was lost. It is a volume. */
  async #adopt(name: string): Promise<void> {
    const { isDirectory } = await stat(join(this.#root, name)).then(
      (status) => ({ isDirectory: status.isDirectory() }),
      () => ({ isDirectory: false }),
    );
    if (isDirectory && existsSync(this.#data(name))) this.#insert(name, {}, {});
  }

  #insert(name: string, labels: Record<string, string>, options: Record<string, string>): Row {
    const row: Row = {
      name,
      created: `${new Date().toISOString().slice(0, 19)}Z`,
      labels: JSON.stringify(labels),
      options: JSON.stringify(options),
    };
    this.#database.durably(() =>
      this.#database.run(
        "INSERT INTO volume VALUES (?, ?, ?, ?)",
        row.name,
        row.created,
        row.labels,
        row.options,
      ),
    );
    return row;
  }

  #row(name: string): Row | undefined {
    return this.#database.get<Row>("SELECT * FROM volume WHERE name = ?", name);
  }

  #rows(): Row[] {
    return this.#database.all<Row>("SELECT * FROM volume ORDER BY name");
  }

  #mustExist(name: string): Row {
    const row = this.#row(name);
    if (row === undefined) throw notFound(name);
    return row;
  }

  #users(name: string): string[] {
    return this.#database
      .all<{ container: string }>("SELECT container FROM volume_reference WHERE volume = ?", name)
      .map(({ container }) => container);
  }

  async #size(name: string): Promise<number> {
    return (await this.#measuring.run({ kind: "measure", path: this.#data(name) })) as number;
  }

  #data(name: string): string {
    return join(this.#root, name, "_data");
  }

  #describe(row: Row): Volume {
    const labels = JSON.parse(row.labels) as Record<string, string>;
    const options = JSON.parse(row.options) as Record<string, string>;
    return {
      Name: row.name,
      Driver: "local",
      Mountpoint: this.#data(row.name),
      CreatedAt: row.created,
      Labels: Object.keys(labels).length > 0 ? labels : null,
      Scope: "local",
      Options: Object.keys(options).length > 0 ? options : null,
    };
  }

  async #exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
    const earlier = this.#busy.get(name) ?? Promise.resolve();
    const mine = earlier.then(work, work);
    const settled = mine.catch(() => undefined);
    this.#busy.set(name, settled);
    try {
      return await mine;
    } finally {
      if (this.#busy.get(name) === settled) this.#busy.delete(name);
    }
  }
}

/** Not a volume name: names begin with a letter or digit. */
const REMOVED_PREFIX = ".removed-";

function notFound(name: string): BerthError {
  return new BerthError("not-found", `get ${name}: no such volume`, {
    operation: "look up volume",
    object: name,
  });
}

function runCopyUp(data: { layers: string[]; path: string; target: string }): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./copy-up-worker.ts", import.meta.url), { workerData: data });
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
