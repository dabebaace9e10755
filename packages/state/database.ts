/**
 * The one durable store: a SQLite database in WAL mode under the data root.
 *
 * Process death loses nothing (what was written is in the kernel); power loss keeps the database consistent, and
 * `durably` additionally survives it. Each package brings its own tables as a list of migrations, named after it; a
 * migration once released never changes. Statements are synchronous and take microseconds: rows are small.
 */
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { keepInPlace, needsOneConnection } from "./keep-in-place.ts";
import { findDamage, isDamage, keepsDamagedDatabase, recover, type StateRecovery } from "./recovery.ts";
import { setRowAside } from "./set-aside.ts";
import { rowFromBackup, StateBackup } from "./state-backup.ts";

/** Milliseconds without a write before the log is moved into the database. */
const QUIET_MS = 1000;
/** After so many writes it is moved even if no quiet moment comes. */
const MAX_LOGGED_WRITES = 20_000;

/** Bytes kept free in the database for a full disk: some dozens of small transactions. */
const ROOM_BYTES = 512 * 1024;

/** Migrations of one package, applied in order, each exactly once. */
export interface Migrations {
  /** The package: "images", "containers". */
  area: string;
  steps: readonly string[];
}

export class Database implements Disposable {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #depth = 0;
  #writes = 0;
  #checkpoint: NodeJS.Timeout | undefined;

  /** What had to be done to open it; undefined for a sound database. */
  readonly recovery: StateRecovery | undefined;
  readonly #path: string;
  readonly #backup: StateBackup | undefined;

  private constructor(db: DatabaseSync, path: string, recovery: StateRecovery | undefined, alone: boolean) {
    this.#db = db;
    this.#path = path;
    this.recovery = recovery;
    this.#backup = path === ":memory:" ? undefined : new StateBackup(path, alone ? db : undefined);
  }

  /**
   * Opens or creates the database at `path` (":memory:" for tests) and brings it up to date. One that is damaged is set aside
   * and made anew of what can be read of it and of its backup: `recovery` tells. `used`: has this data root been used before,
   * so that a missing file is a lost one?
   * Throws BerthError "internal" if the file is newer than this Berth, or cannot be opened.
   */
  static open(path: string, migrations: readonly Migrations[], { used = false } = {}): Database {
    try {
      const found = path === ":memory:" ? undefined : findDamage(path, used);
      const recovery = found && recover(path, found, migrations, (at, steps) => Database.#make(at, steps));
      return Database.#open(path, migrations, recovery);
    } catch (cause) {
      if (cause instanceof BerthError) throw cause;
      throw new BerthError("internal", `cannot open the state database ${path}: ${String(cause)}`, {
        operation: "open state",
        object: path,
        hint: "move it and what is named like it aside to start with empty state; images and volumes on disk are not touched",
        cause,
      });
    }
  }

  /** One without rows, closed again and without a log beside it. */
  static #make(path: string, migrations: readonly Migrations[]): void {
    Database.#open(path, migrations, undefined)[Symbol.dispose]();
  }

  static #open(
    path: string,
    migrations: readonly Migrations[],
    recovery: StateRecovery | undefined,
  ): Database {
    const alone = needsOneConnection(path);
    if (alone) keepInPlace(path);
    const db = new DatabaseSync(path);
    try {
      // Without others the log's index is in our memory, and not in a file that is mapped: on btrfs, a write to such a file
      // when the disk is full ends the process (SIGBUS).
      if (alone) db.exec("PRAGMA locking_mode = EXCLUSIVE");
      db.exec(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000; PRAGMA wal_autocheckpoint = 0",
      );
      const database = new Database(db, path, recovery, alone);
      database.#migrate(migrations);
      database.#makeRoom();
      return database;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /**
   * Lets database and log have some pages that are free again at once, so that on a full disk there is room for the rows that
   * say that something is being removed. The log is new after a clean end, hence at each opening.
   */
  #makeRoom(): void {
    try {
      this.#db.exec(
        `CREATE TABLE IF NOT EXISTS room (bytes BLOB); INSERT INTO room VALUES (zeroblob(${ROOM_BYTES}))`,
      );
      this.#db.exec("DELETE FROM room");
      // At once: a disk that fills before the first quiet moment would leave the room in the log alone.
      this.#db.exec("PRAGMA wal_checkpoint(PASSIVE)");
    } catch {
      // The disk is full already.
    }
  }

  #migrate(migrations: readonly Migrations[]): void {
    this.#db.exec(
      "CREATE TABLE IF NOT EXISTS migration (area TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT",
    );
    this.transaction(() => {
      for (const { area, steps } of migrations) {
        const row = this.get<{ version: number }>("SELECT version FROM migration WHERE area = ?", area);
        const version = row?.version ?? 0;
        if (version > steps.length) {
          throw new BerthError(
            "internal",
            `the stored ${area} have format ${version}, newer than this Berth's ${steps.length}`,
            {
              operation: "open state",
              object: area,
              hint: "use the newer Berth that wrote them",
            },
          );
        }
        for (const step of steps.slice(version)) this.#db.exec(step);
        this.run(
          "INSERT INTO migration VALUES (?, ?) ON CONFLICT (area) DO UPDATE SET version = excluded.version",
          area,
          steps.length,
        );
      }
    });
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** First row, or undefined. */
  get<Row>(sql: string, ...values: SqlValue[]): Row | undefined {
    return explained(() => this.#prepare(sql).get(...values) as Row | undefined);
  }

  all<Row>(sql: string, ...values: SqlValue[]): Row[] {
    return explained(() => this.#prepare(sql).all(...values) as Row[]);
  }

  /** Runs a writing statement; answers the number of rows changed. */
  run(sql: string, ...values: SqlValue[]): number {
    this.#scheduleCheckpoint();
    const action = () => explained(() => Number(this.#prepare(sql).run(...values).changes));
    return this.#depth > 0 ? action() : this.#withRoom(action);
  }

  /** Moving the log into the database syncs the disk: in a quiet moment, not in the middle of a start. */
  #scheduleCheckpoint(): void {
    if (++this.#writes < MAX_LOGGED_WRITES) clearTimeout(this.#checkpoint);
    else if (this.#checkpoint !== undefined) return;
    this.#checkpoint = setTimeout(() => {
      this.#writes = 0;
      this.#checkpoint = undefined;
      try {
        this.#db.exec("PRAGMA wal_checkpoint(PASSIVE)");
        this.#backup?.changed();
      } catch {
        // A full disk: the log keeps what it has, and the next quiet moment tries again.
        this.#scheduleCheckpoint();
      }
    }, QUIET_MS);
    this.#checkpoint.unref();
  }

  /** All or nothing. Synchronous only: no await inside. Nested calls join the outermost. */
  transaction<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    explained(() => this.#db.exec("BEGIN IMMEDIATE"));
    this.#depth++;
    try {
      const result = body();
      explained(() => this.#db.exec("COMMIT"));
      return result;
    } catch (error) {
      // A full disk has rolled it back already.
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    } finally {
      this.#depth--;
    }
  }

  /**
   * A transaction that has reached the disk when it returns (images, volumes, networks). On a full disk the body may run
   * twice.
   */
  durably<T>(body: () => T): T {
    if (this.#depth > 0) return body();
    this.#db.exec("PRAGMA synchronous = FULL");
    try {
      return this.#withRoom(() => this.transaction(body));
    } finally {
      this.#db.exec("PRAGMA synchronous = NORMAL");
    }
  }

  /** A transaction that takes something away: on a full disk it may run twice, the second time in the room that is kept. */
  removal<T>(body: () => T): T {
    return this.#depth > 0 ? body() : this.#withRoom(() => this.transaction(body));
  }

  /** On a full disk once more, after the log was moved into the database: its own space can be written to again then. */
  #withRoom<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (!isBerthError(error, "no-space")) throw error;
      try {
        this.#db.exec("PRAGMA wal_checkpoint(RESTART)");
      } catch {
        throw error; // There is no room for that either.
      }
      return action();
    }
  }

  /** Is a damaged database kept beside this one? What this one does not know may be known to that. */
  get keepsDamaged(): boolean {
    return this.#path !== ":memory:" && keepsDamagedDatabase(this.#path);
  }

  /** The backup's row in place of a damaged one: minutes old, or older if nothing changed since. */
  fromBackup<Row>(sql: string, ...values: string[]): Row | undefined {
    return this.#path === ":memory:" ? undefined : rowFromBackup<Row>(this.#path, sql, values);
  }

  /** Keeps a row that cannot be used as a file; answers its path. The row itself is left as it is. */
  setAside(kind: string, name: string, reason: string, row: Record<string, unknown>): string {
    return this.#path === ":memory:" ? "" : setRowAside(this.#path, kind, name, reason, row);
  }

  /** Makes the backup now that would be made in a quiet moment. */
  async backUp(): Promise<void> {
    this.#db.exec("PRAGMA wal_checkpoint(PASSIVE)");
    await this.#backup?.make();
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#checkpoint);
    this.#statements.clear();
    this.#db.close();
  }
}

/** SQLITE_FULL and SQLITE_IOERR_SHMSIZE, sqlite.org/rescode.html: both are what a full disk is told by. */
const fullCodes = [13, 4874];

/** Says of a full disk that it is one, and of a damaged database what helps. */
function explained<T>(action: () => T): T {
  try {
    return action();
  } catch (cause) {
    if (isDamage(cause)) {
      throw new BerthError("internal", "the state database is damaged", {
        operation: "write state",
        hint: "restart the daemon: it repairs what can be repaired, containers go on meanwhile",
        cause,
      });
    }
    const { errcode } = cause as { errcode?: number };
    if (errcode === undefined || !fullCodes.includes(errcode)) throw cause;
    throw new BerthError("no-space", "write state: no space left on device", {
      operation: "write state",
      hint: "free space under the data root, for example by removing unused images: docker image prune",
      cause,
    });
  }
}

export type SqlValue = null | number | bigint | string | Uint8Array;
