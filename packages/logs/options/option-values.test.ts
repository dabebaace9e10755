import assert from "node:assert/strict";
import { test } from "node:test";
import { cpuTime } from "#go-values/testing/cpu-time.ts";
import { parsePattern } from "#logs/options/option-values.ts";

test("expressions match names as in Go", () => {
  const matches = parsePattern("^(rel|\\pL{2}_)");
  assert.deepEqual(["release", "äö_x", "a_"].map(matches), [true, true, false]);
});

test("what Go takes for no expression is told in its words", () => {
  const cases: [pattern: string, message: string][] = [
    ["(", "error parsing regexp: missing closing ): `(`"],
    ["a(?=b)", "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"],
    ["(a)\\1", "error parsing regexp: invalid escape sequence: `\\1`"],
  ];
  for (const [pattern, message] of cases) {
    assert.throws(() => parsePattern(pattern), { name: "LogOptionError", message });
  }
});

test("names cost no more where there are very many ways to match", () => {
  const label = "a.label.of.64.letters".repeat(4).slice(0, 64);
  assert.ok(cpuTime(() => parsePattern("(.|.|.|.|.|.|.|.)*!")(label)) < 5_000);
});
