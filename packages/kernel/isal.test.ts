import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { hasIsal, isalDeflater } from "#kernel/isal.ts";

function compress(content: Buffer, step: number): Buffer {
  const deflater = isalDeflater();
  assert.ok(deflater);
  const pieces: Buffer[] = [];
  for (let at = 0; at < content.length; at += step) {
    for (const piece of deflater.push(content.subarray(at, at + step))) pieces.push(piece);
  }
  for (const piece of deflater.finish()) pieces.push(piece);
  return Buffer.concat(pieces);
}

const skip = hasIsal() ? false : "libisal2 is not installed";

test("what is compressed comes back, whatever it is", { skip }, () => {
  const text = Buffer.from("the same words again and again, ".repeat(100_000));
  const contents = [Buffer.alloc(0), Buffer.from("x"), text, randomBytes(3_000_000), Buffer.alloc(5_000_000)];
  contents.push(Buffer.concat([text, randomBytes(700_001), text]));
  for (const content of contents) assert.ok(gunzipSync(compress(content, 100_000)).equals(content));
  assert.ok(compress(text, 100_000).length < text.length / 50);
});

test("the result depends on the content alone, not on its pieces", { skip }, () => {
  const content = Buffer.concat([randomBytes(300_000), Buffer.from("abc".repeat(400_000))]);
  const whole = compress(content, content.length);
  for (const step of [777, 65_536, 262_144]) assert.ok(compress(content, step).equals(whole));
});
