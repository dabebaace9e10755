import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseJson } from "#errors/bounded-json.ts";

const MANY = 1_000_000;

describe("JSON from others", () => {
  it("is parsed as ever", () => {
    const value = { text: '[[["\\', list: [1, null, { deep: [[]] }], long: ",[{".repeat(100_000) };
    assert.deepEqual(parseJson(JSON.stringify(value)), value);
    const lists = Array.from({ length: 10_000 }, (_, index) => [`${index}\\"`, {}]);
    assert.deepEqual(parseJson(JSON.stringify(lists)), lists);
    assert.throws(() => parseJson("{"), SyntaxError);
    assert.throws(() => parseJson(`["${"x".repeat(MANY)}`), SyntaxError);
    assert.throws(() => parseJson(`["${"\\".repeat(MANY + 1)}`), SyntaxError);
  });

  it("is refused before it is parsed where that would take long", () => {
    const deep = /nested deeper than 1000/;
    const many = /more than 500000 values/;
    assert.throws(() => parseJson("[".repeat(MANY)), deep);
    assert.throws(() => parseJson('{"a":'.repeat(MANY)), deep);
    assert.throws(() => parseJson(`[${"{},".repeat(MANY)}{}]`), many);
    assert.throws(() => parseJson(`[${"1,".repeat(MANY)}1]`), many);
    assert.throws(() => parseJson(`{${'"a":1,'.repeat(MANY)}"a":1}`), many);
    assert.equal((parseJson(`[${"1,".repeat(499_000)}1]`) as unknown[]).length, 499_001);
  });
});
