/** Logs that a bad disk or a power cut has spoiled: what can be read is, in every file that is there. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { gzipSync } from "node:zlib";
import type { LogReadOptions } from "#logs/log-types.ts";
import { readLog } from "#logs/read-log.ts";

let directory: string;
const file = (name: string) => join(directory, name);
const entry = (text: string, second: number) =>
  `${JSON.stringify({ log: `${text}\n`, stream: "stdout", time: new Date(second * 1000).toISOString() })}\n`;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-damaged-log-"));
  writeFileSync(file("x.log.2.gz"), gzipSync(entry("one", 1) + entry("two", 2)));
  writeFileSync(file("x.log.1"), entry("three", 3) + entry("four", 4));
  writeFileSync(file("x.log"), entry("five", 5) + entry("six", 6));
});
afterEach(() => rmSync(directory, { recursive: true }));

async function read(more: Partial<LogReadOptions> = {}): Promise<string> {
  const plain = { follow: false, stdout: true, stderr: true, since: undefined, until: undefined };
  const options = { ...plain, timestamps: false, tail: undefined, details: false, framed: false, ...more };
  const log = { directory, name: "x.log", form: "json-file" as const, ended: Promise.resolve() };
  const parts: Buffer[] = [];
  for await (const part of readLog(log, options, new AbortController().signal)) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

test("whole files are read from the oldest on", async () => {
  assert.equal(await read(), "one\ntwo\nthree\nfour\nfive\nsix\n");
});

test("a rotated file that is missing costs its lines only", async () => {
  unlinkSync(file("x.log.1"));
  assert.equal(await read(), "one\ntwo\nfive\nsix\n");
  assert.equal(await read({ tail: 3 }), "two\nfive\nsix\n");
  unlinkSync(file("x.log"));
  assert.equal(await read(), "one\ntwo\n");
});

test("bytes of anything between lines, and a torn last line, are passed over", async () => {
  const noise = Buffer.concat([randomBytes(70_000), Buffer.from("\n")]);
  writeFileSync(
    file("x.log"),
    Buffer.concat([Buffer.from(entry("five", 5)), noise, Buffer.from(entry("six", 6))]),
  );
  assert.equal(await read(), "one\ntwo\nthree\nfour\nfive\nsix\n");
  assert.equal(await read({ tail: 2 }), "five\nsix\n");
  writeFileSync(file("x.log"), entry("five", 5) + entry("six", 6).slice(0, 20));
  assert.equal(await read({ tail: 2 }), "four\nfive\n");
  writeFileSync(file("x.log"), Buffer.alloc(5000));
  assert.equal(await read(), "one\ntwo\nthree\nfour\n");
});

for (const [what, content] of [
  ["noise", randomBytes(1000)],
  ["nothing", Buffer.alloc(0)],
  ["half of it", gzipSync(entry("one", 1) + entry("two", 2)).subarray(0, 60)],
] as const) {
  test(`a compressed file that holds ${what} costs its lines only`, async () => {
    writeFileSync(file("x.log.2.gz"), content);
    assert.equal((await read()).replace(/^(one\n(two\n)?)?/, ""), "three\nfour\nfive\nsix\n");
    assert.equal(await read({ tail: 4 }), "three\nfour\nfive\nsix\n");
    assert.match(await read({ tail: 6 }), /three\nfour\nfive\nsix\n$/);
  });
}
