import assert from "node:assert/strict";
import { test } from "node:test";
import { throughShortage } from "#program/shortage.ts";

const failure = (code: string) => Object.assign(new Error(code), { code });

test("a shortage is waited through, everything else is told", async () => {
  const short = ["EMFILE", "ENOMEM"];
  const work = async () => {
    const code = short.shift();
    if (code !== undefined) throw failure(code);
    return "done";
  };
  assert.equal(await throughShortage(work), "done");
  assert.deepEqual(short, []);
  await assert.rejects(
    throughShortage(async () => {
      throw failure("ENOENT");
    }),
    /ENOENT/,
  );
});
