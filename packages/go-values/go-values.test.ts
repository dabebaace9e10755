import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { notBoolean, parseBoolean } from "#go-values/boolean.ts";
import { parseDuration } from "#go-values/duration.ts";

test("booleans are Go's twelve words, and nothing else is one", () => {
  for (const word of ["1", "t", "T", "true", "TRUE", "True"]) assert.equal(parseBoolean(word), true, word);
  for (const word of ["0", "f", "F", "false", "FALSE", "False"])
    assert.equal(parseBoolean(word), false, word);
  for (const word of ["", "yes", "tRUE", " 1", "constructor"])
    assert.equal(parseBoolean(word), undefined, word);
  assert.equal(notBoolean('a"'), 'strconv.ParseBool: parsing "a\\"": invalid syntax');
});

test("durations in nanoseconds", () => {
  const known: [string, number][] = [
    ["0", 0],
    ["-0", 0],
    ["1ns", 1],
    ["1.5us", 1500],
    ["2µs", 2000],
    [".5s", 5e8],
    ["1.s", 1e9],
    ["+1h30m", 5400e9],
    ["-1m1s1ms", -61.001e9],
  ];
  for (const [text, expected] of known) assert.equal(parseDuration(text) + 0, expected, text);
});

test("what is no duration is told in Go's words", () => {
  assert.throws(() => parseDuration(""), /^Error: time: invalid duration ""$/);
  assert.throws(() => parseDuration("x"), /^Error: time: invalid duration "x"$/);
  assert.throws(() => parseDuration("-"), /^Error: time: invalid duration "-"$/);
  assert.throws(() => parseDuration("1"), /^Error: time: missing unit in duration "1"$/);
  assert.throws(() => parseDuration("1d"), /^Error: time: unknown unit "d" in duration "1d"$/);
  assert.throws(() => parseDuration("1m."), /^Error: time: invalid duration "1m\."$/);
});

test("any text is a number or Go's error", () => {
  const texts = fc.oneof(fc.string(), fc.stringMatching(/^[-+]?([0-9.]{1,4}(ns|us|ms|s|m|h|d|)){0,4}$/));
  fc.assert(
    fc.property(texts, (text) => {
      try {
        assert.ok(Number.isInteger(parseDuration(text)));
      } catch (error) {
        assert.match(String(error), /^Error: time: (invalid|missing unit in|unknown unit)/);
      }
    }),
    { numRuns: 500 },
  );
});
