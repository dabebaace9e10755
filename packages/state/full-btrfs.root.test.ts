import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { LoopFileSystem } from "#test/fixtures/loop-file-system.ts";

const missing = LoopFileSystem.missing("btrfs");

/** In a process of its own: what this is about ends it by a signal. Tells which of its rows were written. */
const program = `
  import { closeSync, openSync, statSync, writeSync } from "node:fs";
  import { Database } from "#state/database.ts";
  const [path, filler] = process.argv.slice(1);
  const steps = ["CREATE TABLE thing (id INTEGER PRIMARY KEY, text TEXT) STRICT"];
  const open = () => Database.open(path, [{ area: "things", steps }], { used: statSync(path, { throwIfNoEntry: false }) !== undefined });
  const told = [];
  const tell = (action) => {
    try {
      action();
      told.push("written");
    } catch (error) {
      told.push(error.code);
    }
  };
  const write = (database, id) => tell(() => database.run("INSERT OR REPLACE INTO thing VALUES (?, ?)", id, "x".repeat(2000)));
  const first = open();
  tell(() => first.removal(() => first.run("DELETE FROM thing")));
  write(first, 1);
  const file = openSync(filler, "w");
  for (const size of [1 << 20, 1 << 12]) {
    try {
      for (;;) writeSync(file, Buffer.alloc(size, 7));
    } catch {}
  }
  closeSync(file);
  for (let id = 2; id < 10; id++) write(first, id);
  console.log(JSON.stringify(told));
  process.kill(process.pid, "SIGKILL");
`;

describe("a database on a btrfs that is full", { skip: missing ?? false }, () => {
  test("the process goes on, says so, and can be started again", () => {
    using disk = LoopFileSystem.make("btrfs", { size: 128 * 1024 ** 2 });
    const directory = join(disk.path, "root");
    mkdirSync(directory);
    const path = join(directory, "test.db");
    const filler = join(disk.path, "filler");
    const run = () =>
      spawnSync(process.execPath, ["--input-type=module-typescript", "--eval", program, path, filler], {
        cwd: join(import.meta.dirname, "../.."),
        encoding: "utf8",
      });
    for (let round = 0; round < 2; round++) {
      const { signal, stdout, stderr } = run();
      assert.equal(signal, "SIGKILL", `${stdout}${stderr}`);
      const told = JSON.parse(stdout) as string[];
      assert.equal(told[0], "written", "there is room for what is removed");
      assert.deepEqual(
        told.filter((word) => word !== "written" && word !== "no-space"),
        [],
      );
    }
    rmSync(filler);
    assert.equal(JSON.parse(run().stdout)[0], "written");
  });
});
