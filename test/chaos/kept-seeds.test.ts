/** Seeds of `npm run chaos` that have found something, replayed for a few rounds each. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { KEPT_SEEDS } from "../../chaos/kept-seeds.ts";
import { lacking, seededRun } from "./seeded-runs.ts";

for (const { seed, fault, rounds, found } of KEPT_SEEDS) {
  test(`seed ${seed}, ${fault}: ${found}`, { skip: lacking }, async () => {
    const { code, output } = await seededRun("main.ts", { seed, fault, rounds });
    assert.equal(code, 0, output);
    assert.ok(output.includes(`seed ${seed}, ${rounds} rounds\n`), output);
    assert.match(output, /^0 violations$/m);
  });
}
