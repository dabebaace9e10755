/**
 * All containers in memory, and their rows. Looking up never waits; every change is written at once (a write to the
 * WAL takes tens of microseconds).
 */

import { Container } from "#engine/containers/container.ts";
import type { ContainerRecord } from "#engine/containers/container-record.ts";
import { type ContainerRow, emptyRecord, parseRecord } from "#engine/containers/damaged-records.ts";
import { BerthError } from "#errors/errors.ts";
import type { Database } from "#state/database.ts";

/** What Docker allows in a container name. */
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A container whose row could not be read, and what is in its place. */
export interface DamagedContainer {
  id: string;
  reason: string;
  /** The file that has the row. */
  kept: string;
  replaced: "from the backup" | "empty";
}

export class ContainerStore {
  readonly #database: Database;
  readonly #byId = new Map<string, Container>();
  readonly #byName = new Map<string, Container>();

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Reads all rows, as they were when the last daemon ended. Call once. In the place of a damaged row comes that of the
   * backup, or an empty one with `hostConfig`; what was done is answered, not thrown.
   */
  load(hostConfig: ContainerRecord["hostConfig"] = {}): DamagedContainer[] {
    const damaged: DamagedContainer[] = [];
    const rows = this.#database.recovery?.tables.find(({ table }) => table === "container");
    for (const row of this.#database.all<ContainerRow>("SELECT * FROM container ORDER BY created")) {
      try {
        const record = parseRecord(row);
        // A row of the backup, maybe: it has been made since, or it would not be worth a directory.
        if (rows?.whole === false && record.phase === "creating") record.phase = "present";
        this.#remember(new Container(record));
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        const kept = this.#database.setAside("container", row.id, reason, row);
        const saved = this.#fromBackup(row.id);
        const record = saved ?? emptyRecord(row, hostConfig, `its record was damaged and is kept as ${kept}`);
        const container = new Container({ ...record, name: row.name ?? "" });
        this.#remember(container);
        this.save(container);
        damaged.push({
          id: row.id,
          reason,
          kept,
          replaced: saved === undefined ? "empty" : "from the backup",
        });
      }
    }
    return damaged;
  }

  #fromBackup(id: string): ContainerRecord | undefined {
    const row = this.#database.fromBackup<ContainerRow>("SELECT * FROM container WHERE id = ?", id);
    if (row === undefined) return undefined;
    try {
      const record = parseRecord(row);
      // It has been made since, or its row would be gone.
      return { ...record, phase: record.phase === "creating" ? "present" : record.phase };
    } catch {
      return undefined;
    }
  }

  /** Adds a new container; throws "conflict" if its name is taken, with Docker's text. */
  add(record: ContainerRecord): Container {
    this.#checkNameFree(record.name);
    const container = new Container(record);
    this.#database.run(
      "INSERT INTO container (id, name, phase, created, record) VALUES (?, ?, ?, ?, ?)",
      record.id,
      record.name,
      record.phase,
      Date.parse(record.created),
      JSON.stringify(record),
    );
    this.#remember(container);
    return container;
  }

  /** Writes the record as it is now. */
  save(container: Container): void {
    const { record } = container;
    container.restingSummary = undefined;
    this.#database.run(
      "UPDATE container SET name = ?, phase = ?, record = ? WHERE id = ?",
      record.name === "" ? null : record.name,
      record.phase,
      JSON.stringify(record),
      record.id,
    );
  }

  rename(container: Container, name: string): void {
    this.#checkNameFree(name);
    const former = container.record.name;
    this.#change(container, { name });
    this.#byName.delete(former);
    this.#byName.set(name, container);
  }

  /** From now on the next daemon would finish its removal, volumes and all. It can be found, under its name, until it is retired. */
  beginRemoval(container: Container): void {
    this.#change(container, { phase: "removing", takesVolumes: true });
  }

  /** Its removal has begun, and its name is given back; it can no longer be found. */
  retire(container: Container, takesVolumes: boolean): void {
    const { name, id } = container.record;
    this.#change(container, { name: "", phase: "removing", takesVolumes });
    this.#byName.delete(name);
    this.#byId.delete(id);
  }

  /** It can no longer be found, though its retirement could not be stored: of one whose making has failed. */
  drop({ id, record }: Container): void {
    this.#byName.delete(record.name);
    this.#byId.delete(id);
  }

  /** What cannot be stored is not so. */
  #change(container: Container, changes: Partial<ContainerRecord>): void {
    const { record } = container;
    const former = { ...record };
    Object.assign(record, changes);
    try {
      this.save(container);
    } catch (error) {
      Object.assign(record, former);
      throw error;
    }
  }

  /** Deletes the row, when nothing it owned is left. */
  forget(id: string): void {
    this.#byId.delete(id);
    this.#database.run("DELETE FROM container WHERE id = ?", id);
  }

  /** Ids of all rows, also of those that are being removed or could not be read: what they own is not litter. */
  storedIds(): string[] {
    return this.#database.all<{ id: string }>("SELECT id FROM container").map(({ id }) => id);
  }

  /** In order of creation. */
  all(): Container[] {
    return [...this.#byId.values()];
  }

  /** By id, name (with or without slash) or unique id prefix. Throws "not-found" with Docker's text. */
  get(nameOrId: string): Container {
    const found = this.find(nameOrId);
    if (found === undefined) {
      throw new BerthError("not-found", `No such container: ${nameOrId}`, {
        operation: "look up container",
        object: nameOrId,
      });
    }
    return found;
  }

  /**
   * Runs `work` on it when what is under way with it is done. Throws "not-found" for one that is not there, or was removed
   * before its turn came.
   */
  async inTurn<T>(nameOrId: string, work: (container: Container) => Promise<T>): Promise<T> {
    const { id, queue } = this.get(nameOrId);
    return await queue.run(() => work(this.get(id)));
  }

  find(nameOrId: string): Container | undefined {
    const key = nameOrId.startsWith("/") ? nameOrId.slice(1) : nameOrId;
    const exact = this.#byId.get(key) ?? this.#byName.get(key);
    if (exact !== undefined || !/^[0-9a-f]{1,64}$/.test(key)) return exact;
    const matches = [...this.#byId.values()].filter(({ record }) => record.id.startsWith(key));
    if (matches.length > 1) {
      throw new BerthError("invalid", `multiple IDs found with provided prefix: ${key}`, {
        operation: "look up container",
        object: nameOrId,
        hint: "give more characters of the id",
      });
    }
    return matches[0];
  }

  isNameTaken(name: string): boolean {
    return this.#byName.has(name);
  }

  #checkNameFree(name: string): void {
    if (!NAME.test(name)) {
      throw new BerthError(
        "invalid",
        `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
        { operation: "name container", object: name },
      );
    }
    const holder = this.#byName.get(name);
    if (holder !== undefined) {
      throw new BerthError(
        "conflict",
        `Conflict. The container name "/${name}" is already in use by container "${holder.record.id}". You have to remove (or rename) that container to be able to reuse that name.`,
        { operation: "name container", object: name },
      );
    }
  }

  #remember(container: Container): void {
    this.#byId.set(container.record.id, container);
    if (container.record.name !== "") this.#byName.set(container.record.name, container);
  }
}
