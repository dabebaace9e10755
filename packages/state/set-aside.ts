/**
 * What was damaged and is kept for its owner: files under `<data root>/damaged`, named by time, kind and name. Nothing of
 * Berth's reads them again; they are gone when somebody removes them.
 */
import { copyFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { syncPath, writeDurably } from "#kernel/durable-file.ts";

/** The directory, beside the database. */
export function damagedDirectory(database: string): string {
  return join(dirname(database), "damaged");
}

/** Keeps a row as JSON; answers the file's path. What is binary is in base64. */
export function setRowAside(
  database: string,
  kind: string,
  name: string,
  reason: string,
  row: Record<string, unknown>,
): string {
  const path = newName(database, `${kind}-${name}.json`);
  const printable = (_key: string, value: unknown) =>
    value instanceof Uint8Array ? { base64: Buffer.from(value).toString("base64") } : value;
  const text = `${JSON.stringify({ kind, name, reason, time: new Date().toISOString(), row }, printable, 1)}\n`;
  writeDurably(path, text, 0o600);
  return path;
}

/** Keeps a copy of the database, or of the file `from` beside it, with its log; answers the copy's path. */
export function setDatabaseAside(database: string, reason: string, from = database): string {
  const path = newName(database, `berth.db.${reason}`);
  for (const suffix of ["", "-wal"]) {
    if (!existsSync(from + suffix)) continue;
    copyFileSync(from + suffix, path + suffix);
    syncPath(path + suffix);
  }
  syncPath(dirname(path));
  return path;
}

function newName(database: string, name: string): string {
  const directory = damagedDirectory(database);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const time = new Date().toISOString().replace(/[-:]/g, "").replace(/\./, "");
  const safe = name.replace(/[^\w.@+-]/g, "_").slice(0, 180);
  for (let n = 0; ; n++) {
    const path = join(directory, `${time}${n === 0 ? "" : `-${n}`}-${safe}`);
    if (!existsSync(path)) return path;
  }
}
