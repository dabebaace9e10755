/**
 * A copy of the database that is at most minutes old: what a damaged database is repaired from. Made by SQLite's backup on a
 * connection and a thread of its own, in one step, so that the daemon waits for nothing and the copy is of one moment.
 */
import { existsSync, rmSync, statSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { backup, DatabaseSync } from "node:sqlite";

/** Between two copies of a database that changes all the time, ms. */
const INTERVAL_MS = 5 * 60_000;
/** All pages of any database, in one step: another's writes would make it begin again otherwise. */
const ALL_PAGES = 2 ** 31 - 1;

export function backupPath(database: string): string {
  return `${database}.backup`;
}

export class StateBackup {
  readonly #database: string;
  #next: number;
  #running: Promise<void> | undefined;

  readonly #shared: DatabaseSync | undefined;

  /** `shared`: the connection to copy from, where no other one can be opened. */
  constructor(database: string, shared?: DatabaseSync) {
    this.#database = database;
    this.#shared = shared;
    // A daemon that is started again and again does not write it each time.
    const made = statSync(backupPath(database), { throwIfNoEntry: false })?.mtimeMs ?? 0;
    this.#next = Math.min(made, Date.now()) + INTERVAL_MS;
  }

  /** Called after changes: makes a copy where the last is old enough. Never throws: a full disk has no room for copies. */
  changed(): void {
    if (this.#running !== undefined || Date.now() < this.#next) return;
    this.#next = Date.now() + INTERVAL_MS;
    this.#running = this.make()
      .catch(() => rmSync(this.#unfinished, { force: true }))
      .finally(() => {
        this.#running = undefined;
      });
  }

  /** Makes one now. It has reached the disk before it takes the place of the one before. */
  async make(): Promise<void> {
    rmSync(this.#unfinished, { force: true });
    const source = this.#shared ?? new DatabaseSync(this.#database, { readOnly: true });
    try {
      await backup(source, this.#unfinished, { rate: ALL_PAGES });
    } finally {
      if (source !== this.#shared) source.close();
    }
    await sync(this.#unfinished);
    await rename(this.#unfinished, backupPath(this.#database));
    await sync(dirname(this.#database));
  }

  get #unfinished(): string {
    return `${backupPath(this.#database)}.new`;
  }
}

/** A row of the backup, for one that cannot be read in the database; undefined where there is no such row, or no backup. */
export function rowFromBackup<Row>(
  database: string,
  sql: string,
  values: readonly string[],
): Row | undefined {
  const path = backupPath(database);
  if (!existsSync(path)) return undefined;
  let source: DatabaseSync | undefined;
  try {
    source = new DatabaseSync(path, { readOnly: true });
    return source.prepare(sql).get(...values) as Row | undefined;
  } catch {
    return undefined; // Damaged as well, or of another version.
  } finally {
    source?.close();
  }
}

async function sync(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
