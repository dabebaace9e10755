import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ExpressionError, expressionTest } from "#go-values/expression.ts";
import { cpuTime } from "#go-values/testing/cpu-time.ts";

const matches = (expression: string, text: string) => expressionTest(expression)(text);

test("what matches some part of a text and what doesn't", () => {
  const cases: [expression: string, matching: string[], others: string[]][] = [
    ["", ["", "a"], []],
    ["web", ["web", "my-web-1"], ["we", ""]],
    ["^(web|db)-[0-9]+$", ["web-1", "db-20"], ["web-", "xweb-1", "db-1x"]],
    ["^[0-9a-f]{64}$", ["0f".repeat(32)], ["0f".repeat(31), "0g".repeat(32), "0".repeat(65)]],
    ["^(?P<one>a)(?<two>b)()$", ["ab"], ["a"]],
    ["(?i)^web$", ["WEB", "web"], ["wob"]],
    ["^a.c$", ["abc", "a😀c", "a\rc"], ["a\nc", "ac"]],
    ["^\\pL\\p{Greek}[[:digit:]]\\Q.*\\E$", ["zα1.*"], ["1α1.*", "zαa.*", "zα1ab"]],
  ];
  for (const [expression, matching, others] of cases) {
    for (const text of matching) assert.ok(matches(expression, text), `${expression} ${text}`);
    for (const text of others) assert.ok(!matches(expression, text), `${expression} ${text}`);
  }
});

test("what is no expression is told in Go's words", () => {
  const cases: [expression: string, fault: string][] = [
    ["(a", "missing closing ): `(a`"],
    ["x[a", "missing closing ]: `[a`"],
    ["*a", "missing argument to repetition operator: `*`"],
    ["a**", "invalid nested repetition operator: `**`"],
    ["a{1001}", "invalid repeat count: `{1001}`"],
    ["(a)\\1", "invalid escape sequence: `\\1`"],
    ["a(?=b)", "invalid or unsupported Perl syntax: `(?=`"],
    ["a|".repeat(501), "expression too large"],
  ];
  for (const [expression, fault] of cases) {
    assert.throws(
      () => matches(expression, "a"),
      (error) => error instanceof ExpressionError && error.message === `error parsing regexp: ${fault}`,
      expression,
    );
  }
});

test("any text is an expression or an ExpressionError", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.stringMatching(/^[\\()[\]{}|*+?^$.,:!=<>\-0-9a-zP]{0,12}$/)),
      (text) => {
        try {
          matches(text, "some text");
        } catch (error) {
          assert.ok(error instanceof ExpressionError, String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test("the cost does not grow with the ways to match", () => {
  for (const expression of ["(.|.|.|.|.|.|.|.)*!", "(.*)*!", "(.*.*.*.*.*.*.*.*){9}!", "(x+x+)+y"]) {
    const name = expression.startsWith("(x") ? "x".repeat(64) : "a_label_of_64".repeat(5).slice(0, 64);
    assert.ok(cpuTime(() => matches(expression, name)) < 5_000, expression);
  }
});
