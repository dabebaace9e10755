/** Threads ended in the midst of binding functions, by whoever started them and by the process's end: nothing aborts. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const directory = mkdtempSync(join(tmpdir(), "berth-threads-"));
after(() => rmSync(directory, { recursive: true }));
const own = (module: string) => JSON.stringify(join(import.meta.dirname, module));

writeFileSync(
  join(directory, "binds.mjs"),
  `import { parentPort } from "node:worker_threads";
   import { libcFunction } from ${own("libc.ts")};
   parentPort.postMessage("binding");
   for (;;) libcFunction("int getppid(void)");`,
);
const start = `import { once } from "node:events";
   import { endThread, startThread } from ${own("threads.ts")};
   const started = async () => {
     const thread = startThread(new URL("./binds.mjs", import.meta.url));
     await once(thread, "message");
     return thread;
   };`;

/** Runs such a program; what it printed, with how it ended. */
function run(source: string): string {
  const path = join(directory, "program.mjs");
  writeFileSync(path, `${start}\n${source}`);
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [path], {
    encoding: "utf8",
    timeout: 300_000,
  });
  return `${stdout}${status ?? signal} ${stderr.split("\n")[0]}`.trim();
}

test("a thread is ended between two bindings", () => {
  const rounds = `
    for (let round = 0; round < 20; round++) await endThread(await started());
    console.log("all");`;
  assert.equal(run(rounds), "all\n0");
});

test("a thread that has ended by itself can be ended", () => {
  writeFileSync(join(directory, "ends.mjs"), "");
  const ended = `
    const thread = startThread(new URL("./ends.mjs", import.meta.url));
    await once(thread, "exit");
    await endThread(thread);`;
  assert.equal(run(ended), "0");
});

for (const [how, end] of [
  ["told to", "process.exit(7);"],
  ["with nothing left to do", "process.exitCode = 7; for (const thread of threads) thread.unref();"],
]) {
  test(`a process that ends ${how} waits for its threads' bindings`, () => {
    for (let round = 0; round < 5; round++) {
      assert.equal(run(`const threads = await Promise.all([started(), started(), started()]);\n${end}`), "7");
    }
  });
}
