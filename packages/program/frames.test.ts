import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isBerthError } from "#errors/errors.ts";
import { attachHello, controlHello, encodeFrame, FrameParser, type ShimFrame } from "#program/frames.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const plain = { noNullPrototype: true };
const frame: fc.Arbitrary<ShimFrame> = fc.oneof(
  fc.record({ kind: fc.constant("refused" as const), errno: u32, offset: u32 }, plain),
  fc.record({ kind: fc.constant("failed" as const), instruction: u32, errno: u32 }, plain),
  fc.record(
    {
      kind: fc.constant("note" as const),
      note: u32,
      value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    },
    plain,
  ),
  fc.record(
    {
      kind: fc.constant("exit" as const),
      status: fc.integer({ min: 0, max: 0xffff }),
      at: fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }),
    },
    plain,
  ),
);

test("frames come out as they went in, whatever the pieces", () => {
  fc.assert(
    fc.property(
      fc.array(frame),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (frames, sizes) => {
        const bytes = Buffer.concat(frames.map(encodeFrame));
        const parser = new FrameParser();
        const found: ShimFrame[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          found.push(...parser.push(bytes.subarray(at, at + size)));
          at += size;
        }
        assert.deepEqual(found, frames);
        assert.equal(parser.incomplete, false);
      },
    ),
  );
});

test("a frame that is cut off is known to be incomplete", () => {
  fc.assert(
    fc.property(frame, fc.integer({ min: 1, max: 15 }), (one, cut) => {
      const parser = new FrameParser();
      const bytes = encodeFrame(one);
      assert.deepEqual(parser.push(bytes.subarray(0, bytes.length - cut)), []);
      assert.equal(parser.incomplete, true);
    }),
  );
});

test("other bytes are an error, never anything else", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 8, maxLength: 200 }), (bytes) => {
      try {
        // What it does accept, it would have written itself.
        const frames = new FrameParser().push(bytes);
        const again = Buffer.concat(frames.map(encodeFrame));
        assert.deepEqual([...again], [...bytes.subarray(0, again.length)]);
      } catch (error) {
        assert.ok(isBerthError(error, "invalid"), String(error));
      }
    }),
    { numRuns: 500 },
  );
  assert.throws(() => new FrameParser().push(Buffer.alloc(8)), { code: "invalid" });
  assert.throws(() => new FrameParser().push(Buffer.of(3, 0, 0, 0, 13, 0, 0, 0)), { code: "invalid" });
});

test("what is sent to a shim, byte for byte", () => {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  assert.equal(hex(encodeFrame({ kind: "signal", signal: 15 })), "10000000040000000f000000");
  assert.equal(hex(encodeFrame({ kind: "resize", rows: 24, columns: 80 })), "110000000400000018005000");
  assert.equal(hex(encodeFrame({ kind: "close-stdin" })), "1200000000000000");
  assert.equal(hex(encodeFrame({ kind: "keep", fd: 23, number: 200 })), "130000000800000017000000c8000000");
  assert.equal(hex(controlHello()), "4300000000000000");
  assert.equal(hex(attachHello({ stdin: true, stdout: false, stderr: true })), "4105000000000000");
});
