/** Volumes and who refers to them, as they are stored. */
import type { Logger } from "#errors/logger-types.ts";
import type { Database, Migrations } from "#state/database.ts";
import { storeSurely } from "#state/store-surely.ts";

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

/** In place of options that are lost: the file that has what is left of them. */
export const DAMAGED = "damaged, kept as";

/** Undefined for what is no JSON object of texts. */
function textMap(text: string | undefined): Record<string, string> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? "");
    const sound =
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      Object.values(value).every((one) => typeof one === "string");
    return sound ? (value as Record<string, string>) : undefined;
  } catch {
    return undefined;
  }
}

export class VolumeRows {
  readonly #database: Database;
  readonly #logger: Logger | undefined;
  /** Names of volumes that are gone, and whose rows the disk does not let go yet. */
  readonly #gone = new Set<string>();

  constructor(database: Database, logger?: Logger) {
    this.#database = database;
    this.#logger = logger;
  }

  get(name: string): VolumeRow | undefined {
    if (this.#gone.has(name)) return undefined;
    const stored = this.#database.get<Stored>("SELECT * FROM volume WHERE name = ?", name);
    return stored === undefined ? undefined : parse(stored);
  }

  all(): VolumeRow[] {
    const stored = this.#database.all<Stored>("SELECT * FROM volume ORDER BY name");
    return stored.filter(({ name }) => !this.#gone.has(name)).map(parse);
  }

  /**
   * Call once, at the start: a damaged row comes from the backup. Where that has none its labels are gone, and its options are a
   * note of where they are kept, which nothing is mounted by.
   */
  repair(): { name: string; kept: string; replaced: "from the backup" | "unusable" | "without labels" }[] {
    return this.#database.all<Stored>("SELECT * FROM volume").flatMap((row) => {
      const [labels, options] = [textMap(row.labels), textMap(row.options)];
      if (labels !== undefined && options !== undefined) return [];
      const kept = this.#database.setAside("volume", row.name, "its labels or options cannot be read", row);
      const saved = this.#database.fromBackup<Stored>("SELECT * FROM volume WHERE name = ?", row.name);
      const [savedLabels, savedOptions] = [textMap(saved?.labels), textMap(saved?.options)];
      const usable = options ?? savedOptions;
      this.#database.durably(() =>
        this.#database.run(
          "UPDATE volume SET labels = ?, options = ? WHERE name = ?",
          JSON.stringify(labels ?? savedLabels ?? {}),
          JSON.stringify(usable ?? { [DAMAGED]: kept }),
          row.name,
        ),
      );
      const whole = usable !== undefined && (labels ?? savedLabels) !== undefined;
      const replaced = whole ? "from the backup" : usable === undefined ? "unusable" : "without labels";
      return [{ name: row.name, kept, replaced } as const];
    });
  }

  insert(row: Omit<VolumeRow, "created">): VolumeRow {
    const created = `${new Date().toISOString().slice(0, 19)}Z`;
    this.#database.durably(() => {
      if (this.#gone.has(row.name)) this.#deleteNow(row.name);
      this.#database.run(
        "INSERT INTO volume (name, created, labels, options, driver) VALUES (?, ?, ?, ?, ?)",
        row.name,
        created,
        JSON.stringify(row.labels),
        JSON.stringify(row.options),
        row.driver,
      );
    });
    this.#gone.delete(row.name);
    return { ...row, created };
  }

  /**
   * With whatever refers to it, now or as soon as the disk lets it: what it stood for is gone, and nobody is told that it
   * is there until then. `deleted`: called once the disk has let it go.
   */
  delete(name: string, deleted?: () => void): void {
    this.#gone.add(name);
    const write = () => {
      // Meanwhile there may be a new one of this name.
      if (!this.#gone.has(name)) return;
      this.#database.durably(() => this.#deleteNow(name));
      this.#gone.delete(name);
      deleted?.();
    };
    storeSurely(write, (error) =>
      this.#logger?.error("the end of a volume cannot be stored yet", { volume: name, error: String(error) }),
    );
  }

  #deleteNow(name: string): void {
    this.#database.run("DELETE FROM volume_reference WHERE volume = ?", name);
    this.#database.run("DELETE FROM volume WHERE name = ?", name);
  }

  reference(name: string, container: string): void {
    this.#database.run("INSERT OR IGNORE INTO volume_reference VALUES (?, ?)", name, container);
  }

  dereference(name: string, container: string): void {
    this.#database.run("DELETE FROM volume_reference WHERE volume = ? AND container = ?", name, container);
  }

  dereferenceAll(container: string): void {
    this.#database.run("DELETE FROM volume_reference WHERE container = ?", container);
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
