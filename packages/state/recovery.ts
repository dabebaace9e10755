/**
 * What becomes of a database that is damaged: it is kept aside as it is, and another is made of what can be read of it and of
 * the last backup. A table that is whole is taken as it is; of a broken one the rows that can be read, and those of the backup
 * that are not among them: something removed since may come back that way, nothing is lost that was there minutes ago.
 *
 * The damaged file stays in its place until the new one is on the disk: a crash in between repeats the work.
 */
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { syncPath } from "#kernel/durable-file.ts";
import type { Migrations } from "./database.ts";
import { cannotBeMapped } from "./keep-in-place.ts";
import { damageOfLog } from "./log-check.ts";
import { type Row, type SalvagedTable, salvage } from "./salvage.ts";
import { damagedDirectory, setDatabaseAside } from "./set-aside.ts";
import { backupPath } from "./state-backup.ts";

/** What is the matter with the file. */
export type Damage = "missing" | "empty" | "not-a-database" | "malformed";

/** What was done about it. */
export interface StateRecovery {
  damage: Damage;
  /** In SQLite's words. */
  detail: string;
  /** Where the damaged file is now; undefined if there was none. */
  keptAs: string | undefined;
  /** When the backup was made, if there is one. */
  backupTime: Date | undefined;
  tables: { table: string; whole: boolean; rows: number; fromBackup: number; dropped: number }[];
}

/** SQLITE_CORRUPT and SQLITE_NOTADB, sqlite.org/rescode.html; the low byte of extended codes. */
const CORRUPT = 11;
const NOT_A_DATABASE = 26;
/** Tables that hold nothing to be kept. */
const OWN_TABLES = new Set(["migration", "room"]);

/** Does this error of SQLite's say that the file is damaged? */
export function isDamage(error: unknown): boolean {
  const { errcode } = error as { errcode?: number };
  return errcode !== undefined && [CORRUPT, NOT_A_DATABASE].includes(errcode & 0xff);
}

/**
 * Undefined for a database that can be used, or was never there. `used`: has this data root been used before? Then a file that
 * is missing or empty is one that was lost.
 */
export function findDamage(path: string, used: boolean): { damage: Damage; detail: string } | undefined {
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined || size === 0) {
    // Not yet written to: what there is may be in its log.
    if (existsSync(`${path}-wal`) && size === 0 && canBeRead(path)) return undefined;
    if (!used && !existsSync(backupPath(path))) return undefined;
    return size === undefined
      ? { damage: "missing", detail: "there is no such file" }
      : { damage: "empty", detail: "the file is empty" };
  }
  const log = damageOfLog(`${path}-wal`);
  if (log !== undefined) return { damage: "malformed", detail: log };
  // On a full disk the check itself would end us; the next start has another look.
  if (cannotBeMapped(path)) return undefined;
  let db: DatabaseSync | undefined;
  try {
    // Read only: closing it moves nothing, and a damaged file stays as it is.
    db = new DatabaseSync(path, { readOnly: true });
    db.exec("PRAGMA busy_timeout = 5000");
    // The quick check would be hardly quicker, and does not see rows that their index does not know.
    const found = db.prepare("PRAGMA integrity_check(1)").get() as { integrity_check: string };
    if (found.integrity_check === "ok") return undefined;
    return { damage: "malformed", detail: found.integrity_check };
  } catch (error) {
    if (!isDamage(error)) throw error;
    const { errcode = 0, message } = error as Error & { errcode?: number };
    return { damage: (errcode & 0xff) === NOT_A_DATABASE ? "not-a-database" : "malformed", detail: message };
  } finally {
    db?.close();
  }
}

function canBeRead(path: string): boolean {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { readOnly: true });
    return db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'migration'").get() !== undefined;
  } catch {
    return false;
  } finally {
    db?.close();
  }
}

/** Are there databases that were set aside and that nobody has removed since? */
export function keepsDamagedDatabase(path: string): boolean {
  const directory = damagedDirectory(path);
  return existsSync(directory) && readdirSync(directory).some((name) => name.includes("-berth.db."));
}

/** Puts a sound database in the place of the damaged one. `make`: opens a new one at a path with these migrations. */
export function recover(
  path: string,
  found: { damage: Damage; detail: string },
  migrations: readonly Migrations[],
  make: (path: string, migrations: readonly Migrations[]) => void,
): StateRecovery {
  const keptAs = existsSync(path) ? setDatabaseAside(path, found.damage) : undefined;
  const backup = soundBackup(path);
  const everyTable = tablesOf(migrations, make, `${path}.rebuilt`);
  const tables = everyTable.filter((name) => !OWN_TABLES.has(name));
  const read = existsSync(path) ? salvage(path, [...tables, "migration"], backup) : new Map();
  const saved = backup === undefined ? new Map() : salvage(backup, [...tables, "migration"]);
  const rebuilt = `${path}.rebuilt`;
  removeDatabase(rebuilt);
  // As old as what it is filled with: the steps that are missing come after that, with what they do to rows.
  make(rebuilt, upTo(migrations, read.get("migration") ?? saved.get("migration")));
  const report = fill(rebuilt, tables, read, saved);
  syncPath(rebuilt);
  for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
  syncPath(dirname(path));
  const backupTime = backup === undefined ? undefined : statSync(backup).mtime;
  replaceBackup(path, rebuilt);
  renameSync(rebuilt, path);
  syncPath(dirname(path));
  return { ...found, keptAs, backupTime, tables: report };
}

/** Tables of the new database stand elsewhere in the file: a backup of the old one would be no help to read it by. */
function replaceBackup(path: string, rebuilt: string): void {
  const backup = backupPath(path);
  if (existsSync(backup)) setDatabaseAside(path, "backup", backup);
  copyFileSync(rebuilt, `${backup}.new`);
  syncPath(`${backup}.new`);
  renameSync(`${backup}.new`, backup);
}

function soundBackup(path: string): string | undefined {
  const backup = backupPath(path);
  return existsSync(backup) && findDamage(backup, true) === undefined ? backup : undefined;
}

function tablesOf(
  migrations: readonly Migrations[],
  make: (path: string, migrations: readonly Migrations[]) => void,
  scratch: string,
): string[] {
  removeDatabase(scratch);
  make(scratch, migrations);
  const db = new DatabaseSync(scratch);
  try {
    return (
      db
        .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .all() as {
        name: string;
      }[]
    ).map(({ name }) => name);
  } finally {
    db.close();
    removeDatabase(scratch);
  }
}

function upTo(migrations: readonly Migrations[], versions: SalvagedTable | undefined): readonly Migrations[] {
  if (versions === undefined || versions.rows.length === 0) return migrations;
  const version = new Map(versions.rows.map(({ area, version: number }) => [area, Number(number)]));
  return migrations.map(({ area, steps }) => ({
    area,
    steps: steps.slice(0, version.get(area) ?? steps.length),
  }));
}

function fill(
  path: string,
  tables: readonly string[],
  read: ReadonlyMap<string, SalvagedTable>,
  saved: ReadonlyMap<string, SalvagedTable>,
): StateRecovery["tables"] {
  const db = new DatabaseSync(path);
  try {
    db.exec("PRAGMA foreign_keys = OFF; BEGIN");
    const there = (table: string) => columnsOf(db, table).length > 0;
    const report = tables.filter(there).map((table) => {
      const [salvaged, older] = [read.get(table), saved.get(table)];
      db.exec(`DELETE FROM ${table}`);
      const rows = insert(db, table, salvaged?.rows ?? []);
      const whole = salvaged?.whole === true;
      const fromBackup = whole ? 0 : insert(db, table, older?.rows ?? []);
      return { table, whole, rows: rows + fromBackup, fromBackup, dropped: 0 };
    });
    for (const [table, dropped] of dropDangling(db)) {
      const entry = report.find((one) => one.table === table);
      if (entry !== undefined) Object.assign(entry, { dropped, rows: entry.rows - dropped });
    }
    db.exec("COMMIT");
    return report;
  } finally {
    db.close();
  }
}

/** How many could be put there. Those in the way of others, and those that are no rows of this table, are left out. */
function insert(db: DatabaseSync, table: string, rows: readonly Row[]): number {
  const known = new Set(columnsOf(db, table));
  let inserted = 0;
  for (const row of rows) {
    const names = Object.keys(row).filter((name) => known.has(name));
    const places = names.map(() => "?").join(", ");
    try {
      const statement = db.prepare(`INSERT OR IGNORE INTO ${table} (${names.join(", ")}) VALUES (${places})`);
      inserted += Number(statement.run(...names.map((name) => row[name] ?? null)).changes);
    } catch {
      // A value of a kind that the column cannot hold: it was none of this row's.
    }
  }
  return inserted;
}

function columnsOf(db: DatabaseSync, table: string): string[] {
  return (db.prepare(`PRAGMA table_info(${table})`).all() as { name: string }[]).map(({ name }) => name);
}

/** Removes rows that refer to what is lost, and those that referred to them. Answers how many of each table. */
function dropDangling(db: DatabaseSync): Map<string, number> {
  const dropped = new Map<string, number>();
  for (;;) {
    const dangling = db.prepare("PRAGMA foreign_key_check").all() as {
      table: string;
      rowid: number | null;
    }[];
    if (dangling.length === 0) return dropped;
    let changed = 0;
    for (const { table, rowid } of dangling) {
      const gone =
        rowid === null
          ? dropKeyless(db, table)
          : Number(db.prepare(`DELETE FROM ${table} WHERE rowid = ?`).run(rowid).changes);
      dropped.set(table, (dropped.get(table) ?? 0) + gone);
      changed += gone;
    }
    if (changed === 0) return dropped;
  }
}

/** Tables without rowids are not told row by row. */
function dropKeyless(db: DatabaseSync, table: string): number {
  const keys = db.prepare(`PRAGMA foreign_key_list(${table})`).all() as {
    table: string;
    from: string;
    to: string;
  }[];
  return keys.reduce((sum, key) => {
    const lost = `${key.from} IS NOT NULL AND ${key.from} NOT IN (SELECT ${key.to} FROM ${key.table} WHERE ${key.to} IS NOT NULL)`;
    return sum + Number(db.prepare(`DELETE FROM ${table} WHERE ${lost}`).run().changes);
  }, 0);
}

function removeDatabase(path: string): void {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(path + suffix, { force: true });
}
