/** Logs of many files: read, followed and compressed while they are rotated. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import fc from "fast-check";
import { compressLog } from "#logs/compress-log.ts";
import { logFileNames } from "#logs/log-files.ts";
import type { LogFormName, LogLocation, LogReadOptions } from "#logs/log-types.ts";
import { readLog } from "#logs/read-log.ts";
import { RotatingWriter, type WrittenLine } from "#logs/testing/rotating-writer.ts";

const BASE = 1_700_000_000_000_000_000n;
const SECOND = 1_000_000_000n;
const PLAIN: LogReadOptions = {
  follow: false,
  stdout: true,
  stderr: true,
  since: undefined,
  until: undefined,
  timestamps: false,
  tail: undefined,
  details: false,
  framed: false,
};

async function inDirectory<T>(form: LogFormName, work: (log: LogLocation) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "berth-log-files-"));
  try {
    return await work({ directory, name: "x.log", form });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function read(log: LogLocation, options: Partial<LogReadOptions>, ended = Promise.resolve()) {
  const parts: Buffer[] = [];
  const signal = new AbortController().signal;
  for await (const part of readLog({ ...log, ended }, { ...PLAIN, ...options }, signal))
    parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

const line = fc.record({
  text: fc.string({ maxLength: 60, unit: "grapheme" }).filter((text) => !text.includes("\n")),
  stream: fc.constantFrom("stdout" as const, "stderr" as const),
});
/** A line to write, or something to happen. */
const step = fc.oneof(
  { weight: 6, arbitrary: line },
  { weight: 1, arbitrary: fc.constantFrom("rotate" as const, "compress" as const) },
);
const maybe = fc.option(fc.nat(70), { nil: undefined });
const at = (n: number | undefined) => (n === undefined ? undefined : BASE + BigInt(n) * SECOND);

test("a file that is still written to, for there is no new one, is not compressed", async () => {
  await inDirectory("json-file", async (log) => {
    const files = () => readdirSync(log.directory).sort();
    for (const name of ["x.log.1", "x.log.2"]) writeFileSync(join(log.directory, name), "{}\n");
    await compressLog(log);
    assert.deepEqual(files(), ["x.log.1", "x.log.2"]);
    writeFileSync(join(log.directory, "x.log"), "");
    await compressLog(log);
    assert.deepEqual(files(), ["x.log", "x.log.1.gz", "x.log.2.gz"]);
  });
});

for (const form of ["json-file", "local"] as const) {
  test(`${form}: tail, since, until and streams across files agree with a naive model`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 70 }),
        maybe,
        maybe,
        maybe,
        fc.boolean(),
        (steps, tail, since, until, stderr) =>
          inDirectory(form, async (log) => {
            const writer = new RotatingWriter(log);
            const lines: WrittenLine[] = [];
            for (const one of steps) {
              if (one === "compress") await compressLog(log);
              else if (one === "rotate") {
                if (writer.size() > 0) await writer.rotate();
              } else {
                const written = { ...one, time: BASE + BigInt(lines.length) * SECOND };
                lines.push(written);
                writer.write(written);
              }
            }
            const wanted = lines
              .map((one, n) => ({ ...one, n }))
              .filter(({ n }) => tail === undefined || n >= lines.length - tail)
              .filter(({ n }) => (since === undefined || n >= since) && (until === undefined || n <= until))
              .filter(({ stream }) => stderr || stream === "stdout")
              .map(({ text }) => `${text}\n`)
              .join("");
            assert.equal(await read(log, { tail, stderr, since: at(since), until: at(until) }), wanted);
          }),
      ),
      { numRuns: 60 },
    );
  });

  test(`${form}: a follower sees every line once while files are rotated and compressed`, () =>
    inDirectory(form, async (log) => {
      const writer = new RotatingWriter(log);
      let end = () => {};
      const ended = new Promise<void>((resolve) => {
        end = resolve;
      });
      writer.write({ text: "0", stream: "stdout", time: BASE });
      const got = read(log, { follow: true }, ended);
      let compressing = Promise.resolve();
      for (let n = 1; n < 600; n++) {
        writer.write({ text: String(n), stream: "stdout", time: BASE + BigInt(n) });
        if (n % 7 === 0) await writer.rotate();
        if (n % 35 === 0) compressing = compressing.then(() => compressLog(log));
        if (n % 3 === 0) await turn();
      }
      await compressing;
      end();
      assert.equal(await got, Array.from({ length: 600 }, (_, n) => `${n}\n`).join(""));
    }));
}

test("a follower that is too slow goes on with the oldest file there is", () =>
  inDirectory("local", async (log) => {
    const writer = new RotatingWriter(log, 3);
    const write = (text: string) => writer.write({ text, stream: "stdout", time: BASE });
    write("0");
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const reading = readLog({ ...log, ended }, { ...PLAIN, follow: true }, new AbortController().signal);
    const parts = reading[Symbol.asyncIterator]();
    assert.equal(String((await parts.next()).value), "0\n");
    for (let n = 1; n < 10; n++) {
      await writer.rotate();
      write(String(n));
    }
    end();
    let rest = "";
    for (let part = await parts.next(); !part.done; part = await parts.next()) rest += part.value;
    assert.equal(rest, "7\n8\n9\n");
  }));

test("compressed files are what they were, under their names", () =>
  inDirectory("json-file", async (log) => {
    const writer = new RotatingWriter(log);
    for (const text of ["a", "b", "c"]) {
      writer.write({ text, stream: "stdout", time: BASE });
      await writer.rotate();
    }
    writeFileSync(`${writer.path}.2.gz`, "half done by a daemon that was killed");
    writeFileSync(`${writer.path}.compressing`, "likewise");
    await compressLog(log, 2);
    assert.deepEqual(readdirSync(log.directory).sort(), ["x.log", "x.log.1", "x.log.2.gz", "x.log.3.gz"]);
    await compressLog(log);
    const { readFileSync } = await import("node:fs");
    const texts = [3, 2, 1].map(
      (n) => JSON.parse(gunzipSync(readFileSync(`${writer.path}.${n}.gz`)).toString()).log,
    );
    assert.deepEqual(texts, ["a\n", "b\n", "c\n"]);
    assert.equal(await read(log, {}), "a\nb\nc\n");
  }));

test("local: what a machine that went down has torn is passed over", () =>
  inDirectory("local", async (log) => {
    const writer = new RotatingWriter(log);
    writer.write({ text: "one", stream: "stdout", time: BASE });
    writeFileSync(writer.path, Buffer.concat([Buffer.alloc(100), Buffer.from([0, 0, 0, 9, 10, 6])]), {
      flag: "a",
    });
    for (const text of ["two", "three"]) writer.write({ text, stream: "stdout", time: BASE });
    assert.equal(await read(log, {}), "one\ntwo\nthree\n");
    assert.equal(await read(log, { tail: 3 }), "one\ntwo\nthree\n");
    assert.equal(await read(log, { tail: 1 }), "three\n");
  }));

test("only a log's own files count, the oldest first", () => {
  const names = ["l", "l.1", "l.2.gz", "l.10", "l.10.gz", "l.01", "l.new", "l.x", "m", "l.3.gz.tmp", "l1"];
  assert.deepEqual(
    logFileNames(names, "l").map(({ name }) => name),
    ["l.10", "l.2.gz", "l.1", "l"],
  );
});
