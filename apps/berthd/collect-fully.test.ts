import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";

/** Makes 48 MiB of objects, lets them grow old and go, and says what the heap had of the system before and after. */
const PROGRAM = `
const { getHeapStatistics } = process.getBuiltinModule("node:v8");
const { collectFully } = await import(process.argv[1]);
// As a daemon's server: collecting keeps no process alive.
const alive = setInterval(() => undefined, 1000);
const held = () => getHeapStatistics().total_physical_size;
let objects = Array.from({ length: 48 }, () => Array.from({ length: 1 << 15 }, (_, n) => [n]));
gc({ type: "minor", execution: "sync" });
gc({ type: "minor", execution: "sync" });
const before = held();
objects = undefined;
await collectFully(() => false);
const unwanted = held();
let rounds = 0;
while (held() > before / 2 && rounds++ < 20) await collectFully(() => true);
clearInterval(alive);
console.log(JSON.stringify({ before, unwanted, after: held() }));
`;

test("a full collection gives back to the system what dead objects had", () => {
  const module = new URL("./collect-fully.ts", import.meta.url).href;
  const words = ["--expose-gc", "--input-type=module", "--eval", PROGRAM, module];
  const { before, unwanted, after } = JSON.parse(execFileSync(process.execPath, words, { encoding: "utf8" }));
  assert.ok(before > 40 << 20, `${before} bytes before`);
  assert.ok(unwanted > before / 2, `${unwanted} bytes of ${before} although it is not quiet`);
  assert.ok(after < before / 2, `${after} bytes of ${before} left`);
});

test("without gc() nothing is done", () => {
  const module = new URL("./collect-fully.ts", import.meta.url).href;
  const program = "const { collectFully } = await import(process.argv[1]); await collectFully(() => true);";
  execFileSync(process.execPath, ["--input-type=module", "--eval", program, module]);
});
