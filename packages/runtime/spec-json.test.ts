import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseSpecJson, stringifySpecJson } from "#runtime/spec-json.ts";

describe("a configuration as JSON", () => {
  const condition = '{"index":0,"value":18446744073709551615,"valueTwo":9007199254740993,"op":"SCMP_CMP_EQ"}';

  it("keeps all 64 bits of a condition, there and back", () => {
    const read = parseSpecJson(condition) as { value: bigint; valueTwo: bigint };
    assert.equal(read.value, 2n ** 64n - 1n);
    assert.equal(read.valueTwo, 2n ** 53n + 1n);
    assert.equal(stringifySpecJson(read), condition);
  });

  it("has ordinary numbers everywhere else", () => {
    const text = '{"hard":18446744073709551615,"value":12,"limit":9223372036854771712}';
    assert.deepEqual(parseSpecJson(text), { hard: 2 ** 64, value: 12, limit: Number("9223372036854771712") });
    assert.deepEqual(parseSpecJson('{"env":null,"args":["a",null],"b":{"c":null}}'), {
      args: ["a", null],
      b: {},
    });
    assert.throws(() => parseSpecJson('{"value":12345678901234567'), SyntaxError);
  });
});
