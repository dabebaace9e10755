/** Databases damaged in every way that a disk can think of: opened all the same, with what was there minutes ago. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { Database, type Migrations } from "#state/database.ts";

// In memory where that is possible: what is tried is damage, not the disk.
const directory = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "berth-recovery-"));
after(() => rmSync(directory, { recursive: true }));

/** The kinds of tables that Berth has: wide rows, rows that need others, rows without rowids. */
const migrations: Migrations[] = [
  {
    area: "things",
    steps: [
      `CREATE TABLE thing (id TEXT PRIMARY KEY, name TEXT UNIQUE, record TEXT NOT NULL) STRICT;
       CREATE TABLE part (id TEXT PRIMARY KEY, of TEXT NOT NULL REFERENCES thing (id), record BLOB NOT NULL) STRICT;
       CREATE INDEX part_of ON part (of);
       CREATE TABLE lease (thing TEXT NOT NULL REFERENCES thing (id), n INTEGER NOT NULL, PRIMARY KEY (thing, n)) STRICT, WITHOUT ROWID`,
    ],
  },
];
const THINGS = 120;

/** A record that shows whether it is what was written. */
function record(id: string, version: number): string {
  const filling = createHash("sha256")
    .update(`${id}${version}`)
    .digest("hex")
    .repeat(10 + (id.charCodeAt(6) % 50));
  const text = `${id} ${version} ${filling}`;
  return `${text} ${createHash("sha256").update(text).digest("hex")}`;
}
function isSound(text: string): boolean {
  const at = text.lastIndexOf(" ");
  return createHash("sha256").update(text.slice(0, at)).digest("hex") === text.slice(at + 1);
}

/** Present at the time of the backup and to the end. */
const lasting = new Set<string>();

/** What a daemon leaves that was killed: a backup, rows that changed since, and a log that is not in the database yet. */
before(async () => {
  const path = join(directory, "template.db");
  const database = Database.open(path, migrations);
  const put = (n: number, version: number) => {
    const id = `thing-${n}`;
    database.run(
      "INSERT INTO thing VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
      id,
      `n${n}`,
      record(id, version),
    );
    database.run(
      "INSERT OR IGNORE INTO part VALUES (?, ?, ?)",
      `part-${n}`,
      id,
      Buffer.from(record(`part-${n}`, 0)),
    );
    database.run("INSERT OR IGNORE INTO lease VALUES (?, ?)", id, n);
  };
  const remove = (n: number) => {
    database.run("DELETE FROM lease WHERE thing = ?", `thing-${n}`);
    database.run("DELETE FROM part WHERE of = ?", `thing-${n}`);
    database.run("DELETE FROM thing WHERE id = ?", `thing-${n}`);
  };
  for (let n = 0; n < THINGS; n++) put(n, 0);
  await database.backUp();
  for (let n = 0; n < 10; n++) remove(n);
  for (let n = 10; n < THINGS; n++) lasting.add(`thing-${n}`);
  for (let n = 50; n < 70; n++) put(n, 1);
  for (const suffix of ["", "-wal", ".backup"])
    copyFileSync(path + suffix, `${join(directory, "killed.db")}${suffix}`);
  database[Symbol.dispose]();
  copyFileSync(path, join(directory, "ended.db"));
  copyFileSync(`${path}.backup`, join(directory, "ended.db.backup"));
});

interface Damage {
  kind: "bytes" | "zeroes" | "truncate" | "empty" | "header" | "remove" | "swap";
  /** Parts of the file in a thousand. */
  at: number;
  to: number;
  length: number;
  log: boolean;
}

function spoil(path: string, { kind, at, to, length, log }: Damage): void {
  const target = log && existsSync(`${path}-wal`) ? `${path}-wal` : path;
  const size = statSync(target).size;
  const offset = Math.floor((size * at) / 1000);
  const write = (bytes: Buffer, position: number) => {
    const fd = openSync(target, "r+");
    writeSync(fd, bytes, 0, Math.min(bytes.length, Math.max(0, size - position)), position);
    closeSync(fd);
  };
  if (kind === "bytes")
    write(createHash("shake256", { outputLength: length }).update(String(at)).digest(), offset);
  else if (kind === "zeroes") write(Buffer.alloc(length), offset - (offset % 4096));
  else if (kind === "truncate") truncateSync(target, offset);
  else if (kind === "empty") truncateSync(target, 0);
  else if (kind === "header")
    write(createHash("shake256", { outputLength: 100 }).update(String(at)).digest(), 0);
  else if (kind === "remove") rmSync(target);
  else {
    const [one, two] = [offset - (offset % 4096), Math.floor((size * to) / 1000 / 4096) * 4096];
    const bytes = readFileSync(target);
    write(Buffer.from(bytes.subarray(two, two + 4096)), one);
    write(Buffer.from(bytes.subarray(one, one + 4096)), two);
  }
}

let count = 0;
function copyOf(name: string): string {
  const place = join(directory, String(count++));
  mkdirSync(place);
  for (const suffix of ["", "-wal", ".backup"]) {
    const from = `${join(directory, name)}${suffix}`;
    if (existsSync(from)) copyFileSync(from, join(place, `berth.db${suffix}`));
  }
  return join(place, "berth.db");
}

interface Thing {
  id: string;
  name: string;
  record: string;
}

/** It opens, is sound, and has everything that lasted: as it was, as it was minutes ago, or so that it shows. */
function check(path: string): Database {
  const database = Database.open(path, migrations, { used: true });
  assert.equal(database.get<{ integrity_check: string }>("PRAGMA integrity_check")?.integrity_check, "ok");
  assert.deepEqual(database.all("PRAGMA foreign_key_check"), []);
  const things = database.all<Thing>("SELECT * FROM thing");
  const ids = new Set(things.map(({ id }) => id));
  for (const id of lasting) assert.ok(ids.has(id), `${id} is lost`);
  for (const { id, record: text } of things) {
    if (!isSound(text)) continue;
    assert.ok([record(id, 0), record(id, 1)].includes(text), `${id} is somebody else's`);
  }
  const parts = new Set(database.all<{ of: string }>("SELECT of FROM part").map(({ of }) => of));
  const leases = new Set(
    database.all<{ thing: string }>("SELECT thing FROM lease").map(({ thing }) => thing),
  );
  for (const id of lasting) assert.ok(parts.has(id) && leases.has(id), `what belongs to ${id} is lost`);
  if (database.recovery?.keptAs !== undefined) assert.ok(existsSync(database.recovery.keptAs));
  return database;
}

const runs = Number(process.env.BERTH_DAMAGES ?? 200);
test(`${runs} random damages: each opens again, complete but for what changed since the backup`, () => {
  const damage: fc.Arbitrary<Damage> = fc.record({
    kind: fc.constantFrom("bytes", "zeroes", "truncate", "empty", "header", "remove", "swap"),
    at: fc.nat(999),
    to: fc.nat(999),
    length: fc.integer({ min: 1, max: 20_000 }),
    log: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.constantFrom("killed.db", "ended.db"),
      fc.array(damage, { minLength: 1, maxLength: 3 }),
      (name, damages) => {
        const path = copyOf(name);
        try {
          for (const one of damages) if (existsSync(path)) spoil(path, one);
          check(path)[Symbol.dispose]();
          // The next start finds nothing to repair.
          using again = check(path);
          assert.equal(again.recovery, undefined);
        } finally {
          rmSync(join(path, ".."), { recursive: true });
        }
      },
    ),
    { numRuns: runs },
  );
});

test("what is whole is taken as it is now; only what is broken is filled from the backup", () => {
  const path = copyOf("ended.db");
  const bytes = readFileSync(path);
  // The leaf that holds one row, found by what is in it.
  const page = Math.floor(bytes.indexOf("thing-80 0 ") / 4096);
  bytes.fill(0xa5, page * 4096, (page + 1) * 4096);
  writeFileSync(path, bytes);
  using database = check(path);
  const { recovery } = database;
  assert.equal(recovery?.damage, "malformed");
  const table = (name: string) => recovery?.tables.find((one) => one.table === name);
  assert.equal(table("part")?.whole, true);
  assert.equal(table("part")?.rows, THINGS - 10);
  assert.equal(table("thing")?.whole, false);
  assert.ok((table("thing")?.fromBackup ?? 0) > 0 && (table("thing")?.fromBackup ?? 0) < THINGS / 2);
  // What had changed since the backup, and can be read, is as it was last.
  const changed = database.all<Thing>("SELECT * FROM thing WHERE record LIKE '% 1 %'");
  assert.ok(changed.length > 10);
  assert.deepEqual(readFileSync(recovery?.keptAs ?? ""), bytes);
  assert.match(recovery?.keptAs ?? "", /\/damaged\/\d{8}T\d{9}Z(-\d+)?-berth\.db\.malformed$/);
  assert.equal(database.keepsDamaged, true);
});

test("a database that was made anew has a backup to be read by, and the old one is kept", () => {
  const path = copyOf("ended.db");
  spoil(path, { kind: "bytes", at: 500, to: 0, length: 5000, log: false });
  check(path)[Symbol.dispose]();
  assert.equal(
    readdirSync(join(path, "../damaged")).filter((name) => /berth\.db\.backup$/.test(name)).length,
    1,
  );
  // Another damage before any backup could be made: to the page that says where tables are.
  spoil(path, { kind: "header", at: 1, to: 0, length: 0, log: false });
  spoil(path, { kind: "bytes", at: 900, to: 0, length: 5000, log: false });
  using database = check(path);
  assert.equal(database.recovery?.damage, "not-a-database");
  assert.ok(database.recovery?.tables.some(({ whole, rows }) => whole && rows > 0));
});

test("without a backup what can be read is taken, past a first page that is gone it is nothing", () => {
  const path = copyOf("ended.db");
  rmSync(`${path}.backup`);
  spoil(path, { kind: "bytes", at: 500, to: 0, length: 5000, log: false });
  {
    using database = Database.open(path, migrations, { used: true });
    assert.ok((database.get<{ n: number }>("SELECT count(*) AS n FROM thing")?.n ?? 0) > THINGS / 2);
    assert.equal(database.recovery?.backupTime, undefined);
  }
  spoil(path, { kind: "header", at: 1, to: 0, length: 0, log: false });
  rmSync(`${path}.backup`);
  using database = Database.open(path, migrations, { used: true });
  assert.equal(database.recovery?.damage, "not-a-database");
  assert.deepEqual(database.all("SELECT * FROM thing"), []);
});

test("a first start is not taken for a loss; a file that vanished from a used root is", () => {
  const path = join(directory, "fresh", "berth.db");
  mkdirSync(join(directory, "fresh"));
  {
    using database = Database.open(path, migrations);
    assert.equal(database.recovery, undefined);
  }
  rmSync(path);
  {
    using database = Database.open(path, migrations, { used: true });
    assert.equal(database.recovery?.damage, "missing");
    assert.equal(database.recovery?.keptAs, undefined);
  }
  truncateSync(path, 0);
  using database = Database.open(path, migrations, { used: true });
  assert.equal(database.recovery?.damage, "empty");
});

test("a damaged database of an earlier version goes through the later steps", () => {
  const path = copyOf("ended.db");
  spoil(path, { kind: "bytes", at: 700, to: 0, length: 5000, log: false });
  const [{ area, steps }] = migrations as [Migrations];
  const next = [
    {
      area,
      steps: [
        ...steps,
        "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7; CREATE TABLE copied AS SELECT id FROM thing",
      ],
    },
  ];
  using database = Database.open(path, next, { used: true });
  assert.ok(database.recovery);
  assert.equal(
    database.get<{ n: number }>("SELECT count(*) AS n FROM copied")?.n,
    database.all("SELECT * FROM thing WHERE size = 7").length,
  );
  assert.ok(database.all("SELECT * FROM copied").length >= lasting.size);
});

test("damage that shows while the daemon runs is told by what helps; the backup has the row", () => {
  const path = copyOf("ended.db");
  using database = Database.open(path, migrations);
  // Under its feet: no page of these is in memory yet.
  const bytes = readFileSync(path);
  writeFileSync(path, Buffer.concat([bytes.subarray(0, 4096), Buffer.alloc(bytes.length - 4096, 0xa5)]));
  assert.throws(() => database.all("SELECT * FROM thing"), /the state database is damaged/);
  assert.equal(
    database.fromBackup<Thing>("SELECT * FROM thing WHERE id = ?", "thing-80")?.record,
    record("thing-80", 0),
  );
  writeFileSync(path, bytes);
});

test("rows that cannot be used are kept as files", () => {
  const path = copyOf("ended.db");
  using database = Database.open(path, migrations);
  const kept = database.setAside("container", "a/b", "no JSON", {
    id: "a/b",
    record: "{",
    blob: Buffer.from("x"),
  });
  assert.match(kept, /\/damaged\/\d{8}T\d{9}Z-container-a_b\.json$/);
  const { time, ...rest } = JSON.parse(readFileSync(kept, "utf8"));
  assert.ok(Date.parse(time) > 0);
  assert.deepEqual(rest, {
    kind: "container",
    name: "a/b",
    reason: "no JSON",
    row: { id: "a/b", record: "{", blob: JSON.parse(JSON.stringify(Buffer.from("x"))) },
  });
  assert.equal(statSync(kept).mode & 0o777, 0o600);
  assert.equal(readdirSync(join(path, "../damaged")).length, 1);
});
