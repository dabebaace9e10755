import assert from "node:assert/strict";
import { test } from "node:test";
import { differences, words } from "#test/parity/compare.ts";

test("words of a command line", () => {
  assert.deepEqual(words(`run -e 'A=b c' --x "" y`), ["run", "-e", "A=b c", "--x", "", "y"]);
});

test("differences are found wherever they are, and key order is none", () => {
  assert.deepEqual(
    differences({ a: { x: 1, y: [{ p: 1, q: 2 }] } }, { a: { y: [{ q: 2, p: 1 }], x: 1 } }),
    [],
  );
  assert.deepEqual(differences({ a: { x: 1 } }, { a: { x: 2 }, b: null }), [
    { where: ".a.x", dockerd: "1", berth: "2" },
    { where: ".b", dockerd: "undefined", berth: "null" },
  ]);
});
