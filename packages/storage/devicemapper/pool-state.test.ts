import assert from "node:assert/strict";
import { test } from "node:test";
import { checkPool, parsePoolState } from "#storage/devicemapper/pool-state.ts";

const healthy = "0 28/524288 1500/1638400 - rw discard_passdown error_if_no_space - 1024";

test("what a pool says is read", () => {
  assert.deepEqual(parsePoolState(healthy), {
    transaction: 0,
    metadata: { used: 28, total: 524288 },
    data: { used: 1500, total: 1638400 },
    mode: "rw",
    needsCheck: false,
  });
  assert.equal(
    parsePoolState("3 1/2 3/4 - out_of_data_space discard_passdown queue_if_no_space - 1024")?.mode,
    "out_of_data_space",
  );
  assert.equal(
    parsePoolState("3 1/2 3/4 77 ro no_discard_passdown queue_if_no_space needs_check 9")?.needsCheck,
    true,
  );
  assert.equal(parsePoolState("Fail")?.mode, "failed");
  assert.equal(parsePoolState("Error")?.mode, "failed");
  assert.equal(parsePoolState(""), undefined);
});

const refusal = (text: string, minFree = 10): string => {
  const state = parsePoolState(text);
  assert.ok(state);
  try {
    checkPool("pool", state, minFree);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};

test("a pool that is nearly full takes nothing more, in Docker's words", () => {
  assert.equal(refusal(healthy), "");
  assert.equal(
    refusal("0 10/1000 950/1000 - rw discard_passdown error_if_no_space - 1024"),
    "devmapper: Thin Pool has 50 free data blocks which is less than minimum required 100 free data blocks. Create more free space in thin pool or use dm.min_free_space option to change behavior",
  );
  assert.equal(
    refusal("0 950/1000 10/1000 - rw discard_passdown error_if_no_space - 1024"),
    "devmapper: Thin Pool has 50 free metadata blocks which is less than minimum required 100 free metadata blocks. Create more free metadata space in thin pool or use dm.min_free_space option to change behavior",
  );
  assert.equal(refusal("0 10/1000 999/1000 - rw discard_passdown error_if_no_space - 1024", 0), "");
});

test("a pool that is broken says so", () => {
  assert.match(
    refusal("0 1/9 9/9 - out_of_data_space discard_passdown error_if_no_space - 1"),
    /no free data blocks$/,
  );
  assert.match(refusal("0 1/9 1/9 - ro discard_passdown error_if_no_space - 1"), /is read-only$/);
  assert.match(refusal("0 1/9 1/9 - rw discard_passdown error_if_no_space needs_check 1"), /needs a check/);
  assert.match(refusal("Fail"), /has failed/);
});
