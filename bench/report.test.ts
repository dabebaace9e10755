import assert from "node:assert/strict";
import { test } from "node:test";
import { reportLines } from "./report.ts";
import { type Goal, makeRow } from "./rows.ts";

function row(
  section: string,
  name: string,
  figures: Record<string, number[]>,
  goal: Goal = {},
  missing: Record<string, string> = {},
) {
  return makeRow({ section, name, unit: "ms", values: new Map(Object.entries(figures)), missing }, goal);
}

test("a table for each section, with its own peers between Berth and the floor", () => {
  const lines = reportLines([
    row("one", "a", { berth: [1, 2, 3], dockerd: [10], floor: [0.5] }),
    row("two", "b", { berth: [4], runc: [8] }),
  ]);
  assert.deepEqual(lines, [
    "",
    "one",
    "median / p95      berth        dockerd      floor        to the best peer  budget",
    "a             ms  2.00 / 3.00  10.0 / 10.0  0.50 / 0.50  1/5 dockerd",
    "",
    "two",
    "median / p95      berth        runc         floor  to the best peer  budget",
    "b             ms  4.00 / 4.00  8.00 / 8.00  -      1/2 runc",
  ]);
});

test("a peer without a figure has a column, and its reason below the table", () => {
  const lines = reportLines([row("s", "a", { berth: [1] }, {}, { podman: "is not here" })]);
  assert.match(lines[2] ?? "", /berth +podman +floor/);
  assert.match(lines[3] ?? "", /1\.00 \/ 1\.00 +- \[1\] +- +-$/);
  assert.equal(lines[4], "  [1] podman: is not here");
});

test("a faster peer is called so, with the reason below, told once for all rows that have it", () => {
  const goal = { why: "because" };
  const lines = reportLines([
    row("s", "a", { berth: [20], dockerd: [10] }, goal),
    row("s", "b", { berth: [30], dockerd: [10] }, goal),
  ]);
  assert.match(lines[3] ?? "", /^a \[1\] .*2× dockerd SLOWER$/);
  assert.match(lines[4] ?? "", /^b \[1\] .*3× dockerd SLOWER$/);
  assert.deepEqual(lines.slice(5), ["  [1] slower than dockerd: because"]);
});

test("a note stands beside the name whether it is slower or not", () => {
  const lines = reportLines([
    row("s", "a", { berth: [1], dockerd: [10] }, { note: "on a tenth", why: "no" }),
  ]);
  assert.match(lines[3] ?? "", /^a \[1\] /);
  assert.deepEqual(lines.slice(4), ["  [1] on a tenth"]);
});
