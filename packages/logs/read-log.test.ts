import assert from "node:assert/strict";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import type { LogReadOptions } from "#logs/log-types.ts";
import { readLog } from "#logs/read-log.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-logs-"));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, "x-json.log");
const BASE = 1_700_000_000_000_000_000n;

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

interface Line {
  text: string;
  stream: "stdout" | "stderr";
}

/** Entry number n is n seconds after the base. */
function entry({ text, stream }: Line, n: number): string {
  const time = new Date(Number(BASE / 1_000_000n) + n * 1000).toISOString().replace(/\.000Z$/, "Z");
  return `${JSON.stringify({ log: text, stream, time })}\n`;
}

async function read(
  options: Partial<LogReadOptions>,
  ended = Promise.resolve(),
  signal = new AbortController().signal,
) {
  const parts: Buffer[] = [];
  for await (const part of readLog(
    { directory, name: "x-json.log", form: "json-file", ended },
    { ...PLAIN, ...options },
    signal,
  ))
    parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

const line = fc.record({
  text: fc.string({ maxLength: 300 }).map((text) => `${text}\n`),
  stream: fc.constantFrom("stdout" as const, "stderr" as const),
});

test("tail, since, until and streams agree with a naive model", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 60 }),
      fc.option(fc.nat(70), { nil: undefined }),
      fc.option(fc.nat(70), { nil: undefined }),
      fc.option(fc.nat(70), { nil: undefined }),
      fc.boolean(),
      async (lines, tail, since, until, stderr) => {
        writeFileSync(path, lines.map(entry).join(""));
        const got = await read({
          tail,
          stderr,
          since: since === undefined ? undefined : BASE + BigInt(since) * 1_000_000_000n,
          until: until === undefined ? undefined : BASE + BigInt(until) * 1_000_000_000n,
        });
        const wanted = lines
          .map((one, n) => ({ ...one, n }))
          .filter(({ n }) => tail === undefined || n >= lines.length - tail)
          .filter(({ n }) => (since === undefined || n >= since) && (until === undefined || n <= until))
          .filter(({ stream }) => stderr || stream === "stdout")
          .map(({ text }) => text)
          .join("");
        assert.equal(got, wanted);
      },
    ),
    { numRuns: 100 },
  );
});

test("a large log is entered by bisection and by its end", async () => {
  const lines = Array.from({ length: 20_000 }, (_, n) =>
    entry({ text: `line ${n} ${"x".repeat(n % 97)}\n`, stream: "stdout" }, n),
  );
  writeFileSync(path, lines.join(""));
  assert.match(await read({ tail: 2 }), /^line 19998 x*\nline 19999 x*\n$/);
  assert.match(await read({ since: BASE + 19_999_000_000_000n }), /^line 19999 x*\n$/);
  assert.equal((await read({ since: BASE + 12_345_000_000_000n })).split("\n").length, 20_000 - 12_345 + 1);
});

test("frames, timestamps and details", async () => {
  writeFileSync(
    path,
    '{"log":"é\\n","stream":"stderr","time":"2026-01-02T03:04:05.5Z","attrs":{"b":"2","a":"1"}}\n',
  );
  assert.equal(await read({ timestamps: true, details: true }), "2026-01-02T03:04:05.500000000Z a=1,b=2 é\n");
  assert.equal(await read({ framed: true }), "\x02\0\0\0\0\0\0\x03é\n");
});

test("lines that are no entries are passed over, half a line waits", async () => {
  writeFileSync(path, `garbage\n{"log":5}\n${entry({ text: "good\n", stream: "stdout" }, 0)}{"log":"ha`);
  assert.equal(await read({}), "good\n");
});

test("no log at all is an empty one", async () => {
  rmSync(path);
  assert.equal(await read({}), "");
});

test("following sees every line once, however it is written, and ends with the container", async () => {
  writeFileSync(path, "");
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  const got = read({ follow: true }, ended);
  const all = Array.from({ length: 50 }, (_, n) => entry({ text: `${n}\n`, stream: "stdout" }, n)).join("");
  for (let at = 0; at < all.length; at += 173) {
    appendFileSync(path, all.slice(at, at + 173));
    if (at % 4 === 0) await sleep(1);
  }
  end();
  assert.equal(await got, Array.from({ length: 50 }, (_, n) => `${n}\n`).join(""));
});

test("a reader that goes away ends the following", async () => {
  writeFileSync(path, "");
  const controller = new AbortController();
  const got = read({ follow: true }, new Promise(() => {}), controller.signal);
  setTimeout(() => controller.abort(), 20);
  assert.equal(await got, "");
});
