import assert from "node:assert/strict";
import { test } from "node:test";
import { isBerthError } from "#errors/errors.ts";
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
