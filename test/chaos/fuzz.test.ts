/** A short `npm run fuzz`: most of its requests are wrong, and none leaves anything but its answer. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { lacking, seededRun } from "./seeded-runs.ts";

const seed = Number(process.env.FUZZ_SEED ?? 1);

test(`five hundred requests (FUZZ_SEED=${seed})`, { skip: lacking }, async () => {
  const { code, output } = await seededRun("fuzz/main.ts", { seed, requests: 500, rest: 1 });
  assert.equal(code, 0, output);
  assert.match(output, /^0 findings$/m);
});
