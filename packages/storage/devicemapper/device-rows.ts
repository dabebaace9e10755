/**
 * What is known of the devices in a pool: a small file for each, `devicemapper/metadata/<layer>` as Docker has it.
 *
 * A row is on the disk before its device is made and goes after that is gone. A plain name is a whole layer; what is
 * unfinished or on its way out begins with a dot, and is what a crash leaves to be removed. Numbers of devices are not used again while the daemon runs, so that a
 * row that a power cut brings back cannot mean another layer's device. A row that cannot be read is never written over.
 */
import { readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { BerthError } from "#errors/errors.ts";
import { gonePrefix, initSuffix } from "#storage/layer-names.ts";

export interface DeviceRow {
  /** Its number in the pool. */
  device_id: number;
  /** Bytes. */
  size: number;
  /** The layer it stands on; a container's own stands on its init layer, without saying so. */
  parent?: string;
  /** Of the base: how its file system is known again. */
  uuid?: string;
  filesystem?: string;
}

/** The device that all others come from. */
export const baseName = "base";
/** And its name until it is made. */
export const newBaseName = `.new-${baseName}`;
/** Begins the names of files on their way to be rows. */
const partialPrefix = ".partial-";
/** Pools number their devices with 24 bits. */
const mostDevices = 2 ** 24;

export class DeviceRows {
  readonly #directory: string;
  readonly #rows = new Map<string, DeviceRow>();
  #next = 1;

  /** Reads all there are. Throws "internal" for one that is damaged, and changes nothing then. */
  constructor(directory: string) {
    this.#directory = directory;
    const partial: string[] = [];
    for (const name of readdirSync(directory)) {
      if (name.startsWith(partialPrefix)) partial.push(name);
      else this.#rows.set(name, this.#read(name));
    }
    for (const name of partial) rmSync(join(directory, name));
    for (const { device_id } of this.#rows.values()) this.#next = Math.max(this.#next, device_id + 1);
  }

  get(name: string): DeviceRow | undefined {
    return this.#rows.get(name);
  }

  names(): string[] {
    return [...this.#rows.keys()];
  }

  /** The layer that one stands on; undefined for a lowest one. */
  parentOf(name: string): string | undefined {
    const init = `${name}${initSuffix}`;
    return this.#rows.has(init) ? init : this.#rows.get(name)?.parent;
  }

  /** All have the one that the base was made with. */
  get fileSystem(): "xfs" | "ext4" {
    const row = this.#rows.get(baseName) ?? this.#rows.get(newBaseName);
    return row?.filesystem === "ext4" ? "ext4" : "xfs";
  }

  /** A number that no device has, as far as is known. */
  nextId(): number {
    const used = new Set([...this.#rows.values()].map(({ device_id }) => device_id));
    while (used.has(this.#next % mostDevices) || this.#next % mostDevices === 0) this.#next++;
    return this.#next++ % mostDevices;
  }

  /** On the disk when it resolves. */
  async put(name: string, row: DeviceRow): Promise<void> {
    const partial = join(this.#directory, partialPrefix + name);
    await using file = await open(partial, "w", 0o600);
    await file.writeFile(JSON.stringify(row));
    await file.sync();
    renameSync(partial, join(this.#directory, name));
    this.#rows.set(name, row);
  }

  /** Gives one another name, in one step. */
  rename(name: string, other: string): void {
    const row = this.#rows.get(name);
    if (row === undefined) throw new Error(`there is no row ${name}`);
    renameSync(join(this.#directory, name), join(this.#directory, other));
    this.#rows.delete(name);
    this.#rows.set(other, row);
  }

  delete(name: string): void {
    rmSync(join(this.#directory, name), { force: true });
    this.#rows.delete(name);
  }

  /** How many wait for their last user to go. */
  get deletedCount(): number {
    return this.names().filter((name) => name.startsWith(gonePrefix)).length;
  }

  #read(name: string): DeviceRow {
    const path = join(this.#directory, name);
    const row = parseRow(readFileSync(path, "utf8"));
    if (row !== undefined) return row;
    throw new BerthError(
      "internal",
      `error initializing graphdriver: devmapper: Error loading device metadata file ${name}`,
      {
        operation: "start storage driver",
        object: path,
        hint: "The file is damaged; nothing was changed. Restore it from a backup, or, if its layer can be lost, move it away and start again.",
      },
    );
  }
}

/** Undefined for anything that is no row. */
export function parseRow(text: string): DeviceRow | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { device_id, size, parent, uuid, filesystem } = value as Record<string, unknown>;
  if (!isCount(device_id) || !isCount(size) || device_id >= mostDevices || size % 512 !== 0) return undefined;
  const texts = { parent, uuid, filesystem };
  const row: DeviceRow = { device_id, size };
  for (const key of ["parent", "uuid", "filesystem"] as const) {
    const text = texts[key];
    if (text === undefined) continue;
    if (typeof text !== "string") return undefined;
    row[key] = text;
  }
  return row;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
