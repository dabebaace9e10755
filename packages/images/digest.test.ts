import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { chainIds, digestOf, isDigest, parseDigest, shortId } from "./digest.ts";

test("only sha256 with 64 lower-case hex digits", () => {
  assert.ok(isDigest(digestOf("x")));
  for (const bad of [
    "",
    "sha256:",
    "x".repeat(64),
    `sha256:${"A".repeat(64)}`,
    `sha512:${"a".repeat(128)}`,
    7,
    null,
  ]) {
    assert.equal(isDigest(bad), false);
    assert.throws(() => parseDigest(bad, "layer digest"), {
      code: "invalid",
      message: /^invalid layer digest: /,
    });
  }
  assert.equal(shortId(`sha256:${"0123456789abcdef".repeat(4)}`), "0123456789ab");
});

test("chain ids as the image specification has them", () => {
  const [a, b, c] = ["a", "b", "c"].map(digestOf) as [string, string, string];
  const over = (text: string) => `sha256:${createHash("sha256").update(text).digest("hex")}`;
  const two = over(`${a} ${b}`);
  assert.deepEqual(chainIds([]), []);
  assert.deepEqual(chainIds([a, b, c]), [a, two, over(`${two} ${c}`)]);
});
