import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { byZlib, gzipped } from "./compress.ts";

const content = Buffer.concat([Buffer.from("abc".repeat(300_000)), randomBytes(1_000_000)]);

/** Pieces out of one buffer that is used again and again, as a replayed layer gives them. */
function* reused(closed: () => void = () => {}): Generator<Buffer> {
  const buffer = Buffer.alloc(70_000);
  try {
    for (let at = 0; at < content.length; at += buffer.length) {
      yield buffer.subarray(0, content.copy(buffer, 0, at));
    }
  } finally {
    closed();
  }
}

for (const [name, compress] of [
  ["what there is", gzipped],
  ["zlib", byZlib],
] as const) {
  test(`compressed by ${name}: comes back, twice the same`, async () => {
    const results: Buffer[] = [];
    for (let round = 0; round < 2; round++) {
      const pieces: Uint8Array[] = [];
      for await (const piece of compress(reused())) pieces.push(piece);
      results.push(Buffer.concat(pieces));
    }
    assert.ok(gunzipSync(results[0] ?? "").equals(content));
    assert.ok(results[0]?.equals(results[1] ?? Buffer.alloc(0)));
  });

  test(`compressed by ${name}: the source's failure comes through, and it is closed when nobody wants more`, async () => {
    const failing = async function* () {
      yield content;
      throw new Error("no more");
    };
    await assert.rejects(async () => {
      for await (const _ of compress(failing()));
    }, /no more/);
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    for await (const _ of compress(reused(close))) break;
    await closed;
  });
}
