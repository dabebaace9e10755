/**
 * Reads what can still be read of a damaged database: table by table from both ends, around what is broken in the middle.
 * Works on a copy of its own; never writes to what it reads from.
 */
import { closeSync, copyFileSync, existsSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { readBytes } from "./read-bytes.ts";

export type Row = Record<string, null | number | bigint | string | Uint8Array>;

export interface SalvagedTable {
  rows: Row[];
  /** All rows there were: its structure is without a fault. */
  whole: boolean;
}

/** Pages of SQLite's header: www.sqlite.org/fileformat.html, 1.3. */
const HEADER_BYTES = 100;
/** A gap between rowids that is looked through one by one. */
const MAX_PROBES = 20_000;

/**
 * The tables of the damaged file at `path`, by name; none where nothing can be read. `backup`: a sound database of the same
 * origin, whose first page stands in for one that cannot be read: tables stay where they were made.
 */
export function salvage(
  path: string,
  tables: readonly string[],
  backup?: string,
): Map<string, SalvagedTable> {
  const copy = `${path}.salvage`;
  try {
    takeCopy(path, copy);
    const found = read(copy, tables);
    if (found !== undefined || backup === undefined || !graftFirstPage(copy, backup))
      return found ?? new Map();
    return read(copy, tables) ?? new Map();
  } finally {
    removeCopy(copy);
  }
}

/** Undefined for what cannot be opened at all. */
function read(path: string, tables: readonly string[]): Map<string, SalvagedTable> | undefined {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path);
    db.prepare("SELECT count(*) FROM sqlite_master").get();
    const found = new Map<string, SalvagedTable>();
    for (const table of tables) {
      const salvaged = readTable(db, table);
      if (salvaged !== undefined) found.set(table, salvaged);
    }
    return found.size === 0 ? undefined : found;
  } catch {
    return undefined; // That is what is to be found out.
  } finally {
    try {
      db?.close();
    } catch {
      // It has nothing to write.
    }
  }
}

function readTable(db: DatabaseSync, table: string): SalvagedTable | undefined {
  let columns: string[];
  let keys: string[];
  try {
    const info = db.prepare(`PRAGMA table_info(${table})`).all() as { name: string; pk: number }[];
    columns = info.map(({ name }) => name);
    keys = info
      .filter(({ pk }) => pk > 0)
      .sort((a, b) => a.pk - b.pk)
      .map(({ name }) => name);
  } catch {
    return undefined;
  }
  if (columns.length === 0) return undefined;
  const whole = isWhole(db, table);
  const rowids = hasRowids(db, table);
  const order = rowids ? ["rowid"] : keys;
  const rows = new Map<string, Row>();
  const keep = (row: Row) => rows.set(JSON.stringify(order.map((key) => String(row[key]))), row);
  const selection = rowids ? "rowid, *" : "*";
  const ends: (number | bigint | undefined)[] = [];
  for (const direction of ["ASC", "DESC"]) {
    const by = order.map((key) => `${key} ${direction}`).join(", ");
    let last: Row | undefined;
    try {
      for (const row of db
        .prepare(`SELECT ${selection} FROM ${table} NOT INDEXED ORDER BY ${by}`)
        .iterate()) {
        last = row as Row;
        keep(last);
      }
      ends.length = 0;
      break;
    } catch {
      ends.push(last?.rowid as number | undefined);
    }
  }
  if (rowids && ends.length === 2) probeBetween(db, table, Number(ends[0] ?? 0), ends[1], keep);
  return { rows: [...rows.values()].map((row) => only(row, columns)), whole: whole && ends.length === 0 };
}

/** Rows that stand beyond a broken page and before another. */
function probeBetween(
  db: DatabaseSync,
  table: string,
  from: number,
  to: number | bigint | undefined,
  keep: (row: Row) => void,
): void {
  const until = Math.min(to === undefined ? from + MAX_PROBES : Number(to), from + MAX_PROBES);
  for (let rowid = from + 1; rowid < until; rowid++) {
    try {
      const row = db.prepare(`SELECT rowid, * FROM ${table} NOT INDEXED WHERE rowid = ?`).get(rowid);
      if (row !== undefined) keep(row as Row);
    } catch {
      // This one is lost.
    }
  }
}

function isWhole(db: DatabaseSync, table: string): boolean {
  try {
    const found = db.prepare(`PRAGMA integrity_check(${table})`).all() as { integrity_check: string }[];
    return found.length === 1 && found[0]?.integrity_check === "ok";
  } catch {
    return false;
  }
}

function hasRowids(db: DatabaseSync, table: string): boolean {
  try {
    db.prepare(`SELECT rowid FROM ${table} LIMIT 0`);
    return true;
  } catch {
    return false;
  }
}

function only(row: Row, columns: readonly string[]): Row {
  return Object.fromEntries(columns.map((name) => [name, row[name] ?? null]));
}

/**
 * Puts the first page of `backup` in front of `path`. The header says then that nobody knows the file's size and that no page
 * is free, so that SQLite takes both as they are. False where the files cannot have that page in common.
 */
function graftFirstPage(path: string, backup: string): boolean {
  const header = readBytes(backup, 0, HEADER_BYTES);
  if (header.length < HEADER_BYTES) return false;
  const pageSize = header.readUInt16BE(16) === 1 ? 65_536 : header.readUInt16BE(16);
  if (pageSize < 512 || statSync(path).size < 2 * pageSize) return false;
  const page = readBytes(backup, 0, pageSize);
  // Fields of the header by their offset: change counter 24, size in pages 28, free list 32 and 36, size's version 92.
  page.writeUInt32BE(Math.floor(statSync(path).size / pageSize), 28);
  page.writeUInt32BE(0, 32);
  page.writeUInt32BE(0, 36);
  page.writeUInt32BE((page.readUInt32BE(24) + 1) >>> 0, 92);
  const fd = openSync(path, "r+");
  try {
    writeSync(fd, page, 0, page.length, 0);
  } finally {
    closeSync(fd);
  }
  return true;
}

function takeCopy(path: string, copy: string): void {
  removeCopy(copy);
  for (const suffix of ["", "-wal"])
    if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
}

function removeCopy(copy: string): void {
  for (const suffix of ["", "-wal", "-shm", "-journal"]) rmSync(copy + suffix, { force: true });
}
