/** Volumes and who refers to them, as they are stored. */
import type { Database, Migrations } from "#state/database.ts";

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
    "ALTER TABLE volume ADD COLUMN driver TEXT NOT NULL DEFAULT 'local'",
  ],
};

export interface VolumeRow {
  name: string;
  created: string;
  labels: Record<string, string>;
  options: Record<string, string>;
  driver: string;
}

type Stored = Record<keyof VolumeRow, string>;

export class VolumeRows {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  get(name: string): VolumeRow | undefined {
    const stored = this.#database.get<Stored>("SELECT * FROM volume WHERE name = ?", name);
    return stored === undefined ? undefined : parse(stored);
  }

  all(): VolumeRow[] {
    return this.#database.all<Stored>("SELECT * FROM volume ORDER BY name").map(parse);
  }

  insert(row: Omit<VolumeRow, "created">): VolumeRow {
    const created = `${new Date().toISOString().slice(0, 19)}Z`;
    this.#database.durably(() =>
      this.#database.run(
        "INSERT INTO volume (name, created, labels, options, driver) VALUES (?, ?, ?, ?, ?)",
        row.name,
        created,
        JSON.stringify(row.labels),
        JSON.stringify(row.options),
        row.driver,
      ),
    );
    return { ...row, created };
  }

  /** With whatever refers to it. */
  delete(name: string): void {
    this.#database.durably(() => {
      this.#database.run("DELETE FROM volume_reference WHERE volume = ?", name);
      this.#database.run("DELETE FROM volume WHERE name = ?", name);
    });
  }

  reference(name: string, container: string): void {
    this.#database.run("INSERT OR IGNORE INTO volume_reference VALUES (?, ?)", name, container);
  }

  dereference(name: string, container: string): void {
    this.#database.run("DELETE FROM volume_reference WHERE volume = ? AND container = ?", name, container);
  }

  /** Ids of containers. */
  references(name: string): string[] {
    return this.#database
      .all<{ container: string }>("SELECT container FROM volume_reference WHERE volume = ?", name)
      .map(({ container }) => container);
  }
}

function parse({ labels, options, ...rest }: Stored): VolumeRow {
  return { ...rest, labels: JSON.parse(labels), options: JSON.parse(options) };
}
