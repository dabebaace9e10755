/** Compressed files on a disk that takes less than it is given. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { compressLog } from "#logs/compress-log.ts";
import { compress, decompress } from "#logs/compressed-file.ts";

const content = Buffer.from(randomBytes(50_000).toString("hex"));
let directory: string;
const at = (name: string) => join(directory, name);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "berth-compressed-"));
});
afterEach(() => {
  limitFiles("unlimited");
  rmSync(directory, { recursive: true });
});

/** Bytes a file of this process may have: a write beyond is cut short, and the next one fails (setrlimit(2)). */
function limitFiles(size: number | "unlimited"): void {
  execFileSync("prlimit", ["--pid", String(process.pid), `--fsize=${size}:`]);
}

test("a write that takes a part is gone on with", async (t) => {
  writeFileSync(at("log"), content);
  await using from = await open(at("log"));
  await using to = await open(at("log.gz"), "w");
  const write = to.write.bind(to) as (bytes: Buffer, offset: number, length: number) => unknown;
  t.mock.method(to, "write", (bytes: Buffer, offset = 0, length = bytes.length - offset) =>
    write(bytes, offset, Math.min(length, 100)),
  );
  await compress(from, to);
  assert.ok(gunzipSync(readFileSync(at("log.gz"))).equals(content));
});

test("a file that cannot be compressed whole stays as it is", async () => {
  const log = { directory, name: "log", form: "json-file" as const };
  writeFileSync(at("log"), "");
  writeFileSync(at("whole"), "");
  writeFileSync(at("whole.1"), content);
  await compressLog({ ...log, name: "whole" });
  writeFileSync(at("log.1"), content);
  limitFiles(readFileSync(at("whole.1.gz")).length - 4);
  await assert.rejects(compressLog(log), { code: "EFBIG" });
  assert.deepEqual([existsSync(at("log.1")), existsSync(at("log.1.gz"))], [true, false]);
});

test("what cannot be unpacked whole is not taken for all there is", async () => {
  writeFileSync(at("log"), "");
  writeFileSync(at("log.1"), content);
  await compressLog({ directory, name: "log", form: "json-file" });
  await using packed = await open(at("log.1.gz"));
  limitFiles(content.length - 1);
  await assert.rejects(decompress(packed, directory), { code: "EFBIG" });
});
