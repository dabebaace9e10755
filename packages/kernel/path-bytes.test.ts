import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodePath, encodePath, pathBytes } from "#kernel/path-bytes.ts";
import { SyscallError } from "#kernel/syscall-error.ts";

test("any bytes survive the way to a string and back", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      assert.deepEqual([...pathBytes(decodePath(bytes))], [...bytes]);
    }),
  );
});

test("UTF-8 reads as usual, byte order mark and astral characters included", () => {
  for (const name of ["plain", "Főtanúsítvány", "😀x", "\ufeffbom"]) {
    assert.equal(decodePath(Buffer.from(name)), name);
    assert.equal(encodePath(name), name);
  }
});

test("a NUL is refused instead of cutting the name short", () => {
  assert.throws(() => encodePath("etc/passwd\0.png"), SyscallError);
});
