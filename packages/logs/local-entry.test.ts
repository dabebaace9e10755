import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  decodeLocalMessage,
  encodeLocalEntry,
  FRAME,
  type LocalEntry,
  localEntrySize,
} from "#logs/local-entry.ts";

const entry: fc.Arbitrary<LocalEntry> = fc.record(
  {
    stream: fc.constantFrom("stdout" as const, "stderr" as const),
    time: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }),
    line: fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
    partial: fc.option(
      fc.record(
        {
          id: fc.string({ unit: "grapheme-ascii", maxLength: 64 }),
          ordinal: fc.nat(1 << 20),
          last: fc.boolean(),
        },
        { noNullPrototype: true },
      ),
      { nil: undefined },
    ),
  },
  { noNullPrototype: true },
);

test("what is encoded is decoded", () => {
  fc.assert(
    fc.property(entry, (given) => {
      const bytes = encodeLocalEntry(given);
      assert.equal(localEntrySize(bytes, 0), bytes.length);
      const back = decodeLocalMessage(bytes, FRAME, bytes.length - FRAME);
      assert.deepEqual({ ...back, line: Buffer.from(back?.line ?? []) }, given);
    }),
  );
});

test("an entry as Docker's own driver writes it", () => {
  const bytes = Buffer.from("000000160a067374646f75741099a1e9ef83fdfff4181a02686900000016", "hex");
  const entry = decodeLocalMessage(bytes, FRAME, bytes.length - FRAME);
  assert.equal(Buffer.from(entry?.line ?? []).toString(), "hi");
  assert.deepEqual([entry?.stream, entry?.partial], ["stdout", undefined]);
  assert.deepEqual(encodeLocalEntry(entry as LocalEntry), bytes);
});

test("any other bytes are refused or read, and never out of bounds", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      const buffer = Buffer.from(bytes);
      const size = localEntrySize(buffer, 0);
      assert.ok(size >= -1 && size <= buffer.length);
      const read = decodeLocalMessage(buffer, 0, buffer.length);
      assert.ok(read === undefined || read.line.length <= buffer.length);
    }),
    { numRuns: 2000 },
  );
});
