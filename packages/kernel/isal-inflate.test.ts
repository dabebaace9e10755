import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { InflateError, isalInflater } from "#kernel/isal-inflate.ts";

const missing = isalInflater() === undefined && "libisal2 is not installed";

/** Inflates all members of `packed`, given and taken in pieces. */
async function inflateAll(packed: Buffer, inputSize: number, outputSize: number): Promise<Buffer> {
  const inflater = isalInflater();
  assert.ok(inflater !== undefined);
  const pieces: Buffer[] = [];
  let at = 0;
  for (;;) {
    if (inflater.unread === 0) {
      if (at >= packed.length) throw new InflateError("unexpected end of file");
      inflater.feed(packed.subarray(at, at + inputSize));
      at += inputSize;
    }
    const output = Buffer.allocUnsafeSlow(outputSize);
    const { length, ended } = await inflater.inflate(output);
    pieces.push(output.subarray(0, length));
    if (!ended) continue;
    if (inflater.unread === 0 && at >= packed.length) return Buffer.concat(pieces);
    inflater.begin();
  }
}

test("what zlib packs comes out, however it is cut, in one member or several", {
  skip: missing,
}, async () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 5000 }),
    fc.nat(200_000).map((length) => Buffer.alloc(length, "abc")),
    fc.nat(100_000).map((length) => randomBytes(length)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(content, { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 1, max: 70_000 }),
      async (contents, level, inputSize, outputSize) => {
        const packed = Buffer.concat(contents.map((one) => gzipSync(one, { level })));
        const found = await inflateAll(
          packed,
          Math.max(inputSize, packed.length >> 8),
          Math.max(outputSize, 512),
        );
        assert.ok(found.equals(Buffer.concat(contents)));
      },
    ),
    { numRuns: 100 },
  );
});

test("any damage is told or makes no difference", { skip: missing }, async () => {
  const plain = Buffer.concat([randomBytes(3000), Buffer.alloc(3000, "text "), randomBytes(100)]);
  const packed = gzipSync(plain);
  await fc.assert(
    fc.asyncProperty(fc.nat(packed.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const damaged = Buffer.from(packed);
      damaged[at] = (damaged[at] as number) ^ change;
      const found = await inflateAll(damaged, 4096, 4096).catch((error: unknown) => {
        assert.ok(error instanceof InflateError, String(error));
        assert.match(error.code, /^Z_/);
        return plain;
      });
      assert.ok(found.equals(plain));
    }),
    { numRuns: 300 },
  );
  for (const length of [1, 9, 12, packed.length - 8, packed.length - 1]) {
    await assert.rejects(inflateAll(packed.subarray(0, length), 4096, 4096), InflateError);
  }
});
