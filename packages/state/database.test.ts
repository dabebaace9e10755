import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { BerthError } from "#errors/errors.ts";
import { Database } from "#state/database.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-state-"));
after(() => rmSync(directory, { recursive: true }));
const FIRST = "CREATE TABLE thing (name TEXT PRIMARY KEY) STRICT";
const SECOND = "ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7";

test("migrations run once each, in order, and what was stored stays", () => {
  const path = join(directory, "migrate.db");
  {
    using database = Database.open(path, [{ area: "things", steps: [FIRST] }]);
    database.run("INSERT INTO thing (name) VALUES (?)", "kept");
  }
  using database = Database.open(path, [{ area: "things", steps: [FIRST, SECOND] }]);
  assert.deepEqual(
    { ...database.get<{ name: string; size: number }>("SELECT * FROM thing") },
    { name: "kept", size: 7 },
  );
});

test("a database of a newer Berth is refused, and nothing in it changes", () => {
  const path = join(directory, "newer.db");
  Database.open(path, [{ area: "things", steps: [FIRST, SECOND] }])[Symbol.dispose]();
  assert.throws(
    () => Database.open(path, [{ area: "things", steps: [FIRST] }]),
    (error) => error instanceof BerthError && /newer than this Berth/.test(error.message),
  );
});

test("a file that cannot be opened is refused by name", () => {
  const path = join(directory, "directory.db");
  mkdirSync(path);
  assert.throws(() => Database.open(path, []), /cannot open the state database .*directory\.db/);
});

test("a transaction that throws leaves nothing, also nested", () => {
  using database = Database.open(":memory:", [{ area: "things", steps: [FIRST] }]);
  assert.throws(
    () =>
      database.transaction(() => {
        database.run("INSERT INTO thing VALUES ('a')");
        database.transaction(() => database.run("INSERT INTO thing VALUES ('b')"));
        throw new Error("no");
      }),
    /no/,
  );
  assert.deepEqual(database.all("SELECT * FROM thing"), []);
  database.durably(() => database.run("INSERT INTO thing VALUES ('c')"));
  assert.equal(database.all("SELECT * FROM thing").length, 1);
});
