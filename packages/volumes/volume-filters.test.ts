import assert from "node:assert/strict";
import { test } from "node:test";
import type { Volume } from "#api-types/system.ts";
import { cpuTime } from "#go-values/testing/cpu-time.ts";
import { volumeFilter } from "#volumes/volume-filters.ts";

function named(patterns: string[], names: string[]): string[] {
  const wanted = volumeFilter({ name: patterns }, () => false);
  return names.filter((name) => wanted({ Name: name } as Volume));
}

test("names match as regular expressions; what Go takes for none is compared as it is", () => {
  const unnamed = "0f".repeat(32);
  assert.deepEqual(named(["^[0-9a-f]{64}$"], [unnamed, "data"]), [unnamed]);
  assert.deepEqual(named(["da", "^x"], ["data", "x", "y"]), ["data", "x"]);
  assert.deepEqual(named(["(?=d)"], ["data", "(?=d)", "x(?=d)"]), ["(?=d)"]);
});

test("names cost no more where there are very many ways to match", () => {
  assert.ok(cpuTime(() => named(["(.|.|.|.|.|.|.|.)*!"], ["a".repeat(64)])) < 5_000);
});
