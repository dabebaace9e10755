import assert from "node:assert/strict";
import { test } from "node:test";
import { median, quantile } from "./statistics.ts";

test("quantiles are values that were measured, by nearest rank", () => {
  const values = [5, 1, 4, 2, 3];
  assert.deepEqual(
    [0, 0.05, 0.2, 0.21, 0.5, 0.95, 1].map((share) => quantile(values, share)),
    [1, 1, 1, 2, 3, 5, 5],
  );
  assert.deepEqual(values, [5, 1, 4, 2, 3]);
});

test("the median of an even number is the lower of the two in the middle", () => {
  assert.equal(median([4, 1, 3, 2]), 2);
  assert.equal(median([7]), 7);
});

test("nothing measured is not a number", () => {
  assert.equal(median([]), Number.NaN);
});
