import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isBerthError } from "#errors/errors.ts";
import { cpuTime } from "#go-values/testing/cpu-time.ts";
import { pathMatcher } from "./path-match.ts";

const matching: [pattern: string, name: string][] = [
  ["busybox", "busybox"],
  ["busy*", "busybox:latest"],
  ["*:latest", "busybox:latest"],
  ["*/*", "localhost:5000/a"],
  ["b?sybox", "busybox"],
  ["[a-c]usybox", "busybox"],
  ["[^x]usybox", "busybox"],
  ["x\\*", "x*"],
  ["a[\\]]b", "a]b"],
  ["{a,b}", "{a,b}"],
  ["", ""],
  // A class may be the slash that a star may not.
  ["*[^x]*b", "a/b"],
  ["*?*", "😀"],
];
const different: [pattern: string, name: string][] = [
  ["busybox", "busybox2"],
  ["*", "a/b"],
  ["?", "/"],
  ["**", "a/b"],
  ["[z-a]", "m"],
  ["{a,b}", "a"],
  ["x\\*", "xy"],
];
for (const [pattern, name] of matching) {
  test(`${pattern} matches ${name}`, () => assert.ok(pathMatcher(pattern)(name)));
}
for (const [pattern, name] of different) {
  test(`${pattern} does not match ${name}`, () => assert.ok(!pathMatcher(pattern)(name)));
}
for (const pattern of ["[", "[a", "[]", "[-x]", "a\\", "[a-]", "[\\"]) {
  test(`${pattern} is no pattern`, () => {
    assert.throws(
      () => pathMatcher(pattern),
      (error) => isBerthError(error, "invalid"),
    );
  });
}

test("names match as by a regular expression of the same meaning", () => {
  const parts: [pattern: string, expression: string][] = [
    ["*", "[^/]*"],
    ["?", "[^/]"],
    ["a", "a"],
    ["/", "/"],
    ["[ab]", "[ab]"],
    ["[^a]", "[^a]"],
  ];
  const patterns = fc.array(fc.constantFrom(...parts), { maxLength: 8 });
  fc.assert(
    fc.property(patterns, fc.stringMatching(/^[ab/]{0,8}$/), (chosen, name) => {
      const pattern = chosen.map(([text]) => text).join("");
      const expression = new RegExp(`^${chosen.map(([, text]) => text).join("")}$`);
      assert.equal(pathMatcher(pattern)(name), expression.test(name), pattern);
    }),
    { numRuns: 2000 },
  );
});

test("the cost does not grow with the ways to match, nor with a pattern that is longer than the name", () => {
  const name = `registry.example/${"a".repeat(111)}:${"b".repeat(128)}`;
  for (const pattern of [`*/${"*?".repeat(100)}!`, `${"*".repeat(100_000)}!`, "*?".repeat(100_000)]) {
    const time = cpuTime(() => assert.ok(!pathMatcher(pattern)(name)));
    assert.ok(time < 5_000, pattern.slice(0, 10));
  }
});
