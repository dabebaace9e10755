import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { DetachScanner, parseDetachKeys } from "#cli/terminal/detach-keys.ts";

test("key names become bytes", () => {
  assert.deepEqual([...parseDetachKeys("")], [16, 17]);
  assert.deepEqual([...parseDetachKeys("a,ctrl-A,ctrl-[,ctrl-_")], [97, 1, 27, 31]);
  assert.throws(() => parseDetachKeys("ctrl-"), /Unknown character/);
});

test("the sequence is found across reads, and what only begins it goes on", () => {
  const scanner = new DetachScanner(Buffer.from([16, 17]));
  assert.deepEqual(scanner.push(Buffer.from("a\x10")), { output: Buffer.from("a"), detached: false });
  assert.deepEqual(scanner.push(Buffer.from("\x10b")), { output: Buffer.from("\x10\x10b"), detached: false });
  assert.deepEqual(scanner.push(Buffer.from("x\x10\x11rest")), { output: Buffer.from("x"), detached: true });
});

test("without the sequence nothing is lost, however it is cut", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(16, 65, 66), { maxLength: 30 }), fc.nat(5), (bytes, cut) => {
      const scanner = new DetachScanner(Buffer.from([16, 17]));
      const parts = [bytes.slice(0, cut), bytes.slice(cut), [90]].map(
        (part) => scanner.push(Buffer.from(part)).output,
      );
      assert.deepEqual([...Buffer.concat(parts)], [...bytes, 90]);
    }),
  );
});
