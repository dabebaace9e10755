/** Log files as the relay begins, shifts and forgets them, and the local form. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { FileDescriptor } from "#kernel/fd.ts";
import { tryLock } from "#kernel/file-syscalls.ts";
import { O_DIRECTORY, O_RDONLY, open } from "#kernel/syscalls.ts";
import { decodeLocalMessage, FRAME, type LocalEntry, localEntrySize } from "#logs/local-entry.ts";
import { createFixture, type Fixture, type ProcessOptions, processProgram, until } from "./fixture.ts";

let fixture: Fixture;
before(async () => {
  fixture = await createFixture();
});
after(() => fixture[Symbol.dispose]());

let serial = 0;

function start(script: string, options: Partial<ProcessOptions> = {}) {
  const directory = fixture.path(`run${serial++}`);
  mkdirSync(directory);
  const log = `${directory}/log`;
  const program = processProgram({ argv: ["/bin/sh", "-c", script], directory, log, ...options });
  const shim = fixture.client.launch(program, `${directory}/shim.sock`);
  const files = () =>
    readdirSync(directory)
      .filter((name) => name.startsWith("log"))
      .sort();
  return { shim, directory, log, files };
}

/** For a log that is being written: its last entry may be half there. */
function rawText(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

function jsonTexts(path: string): string {
  const text = readFileSync(path, "utf8");
  assert.ok(text === "" || text.endsWith("\n"), `${path} ends in the middle of an entry`);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line).log)
    .join("");
}

function localEntries(bytes: Buffer): LocalEntry[] {
  const entries: LocalEntry[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = localEntrySize(bytes, at);
    assert.ok(size > 0, `no entry at ${at}`);
    const entry = decodeLocalMessage(bytes, at + FRAME, at + size - FRAME);
    assert.ok(entry !== undefined);
    entries.push(entry);
    at += size;
  }
  return entries;
}

/** The oldest first. */
function inOrder(directory: string, names: string[]): string[] {
  const age = (name: string) => Number(name.split(".")[1] ?? 0);
  return names.sort((a, b) => age(b) - age(a)).map((name) => `${directory}/${name}`);
}

const NUMBERS = Array.from({ length: 3000 }, (_, n) => `line ${n + 1}\n`).join("");

for (const form of ["json", "local"] as const) {
  test(`${form}: nothing is lost in files without number, each about the limit`, async () => {
    const run = start("seq -f 'line %.0f' 3000", {
      logLocal: form === "local",
      logRotation: { limit: 5000, files: 0 },
    });
    let told = 0;
    run.shim.onNote((kind) => {
      if (kind === 100) told++;
    });
    assert.equal((await run.shim.exited).exitCode, 0);
    const files = inOrder(run.directory, run.files());
    assert.ok(files.length > 10);
    assert.ok(told > 0);
    const texts = files.map((file) =>
      form === "json"
        ? jsonTexts(file)
        : localEntries(readFileSync(file))
            .map(({ line }) => `${Buffer.from(line)}\n`)
            .join(""),
    );
    assert.equal(texts.join(""), NUMBERS);
    for (const file of files.slice(0, -1)) {
      const { size, mode } = statSync(file);
      assert.ok(size >= 5000 && size < 5200, `${file}: ${size}`);
      assert.equal(mode & 0o777, 0o640);
    }
  });
}

test("as many files as are asked for, the newest; compressed ones move along", async () => {
  const run = start("read x; seq -f 'line %.0f' 3000", {
    stdin: true,
    logRotation: { limit: 5000, files: 4 },
  });
  await run.shim.started;
  writeFileSync(`${run.directory}/log.1.gz`, "first");
  writeFileSync(`${run.directory}/log.2.gz`, "second");
  writeFileSync(`${run.directory}/log.77`, "not of this log's");
  const { connectUnix } = await import("#program/unix-connect.ts");
  const client = connectUnix(`${run.directory}/shim.sock`);
  client.write(Buffer.from("A\x01\0\0\0\0\0\0\n"));
  assert.equal((await run.shim.exited).exitCode, 0);
  client.destroy();
  assert.deepEqual(run.files(), ["log", "log.1", "log.2", "log.3", "log.77"]);
  const texts = inOrder(run.directory, ["log", "log.1", "log.2", "log.3"]).map(jsonTexts).join("");
  assert.ok(NUMBERS.endsWith(texts) && texts.length > 1000);
});

test("a compressed file is shifted like any other", async () => {
  const run = start("read x; echo one; echo two", { stdin: true, logRotation: { limit: 10, files: 9 } });
  await run.shim.started;
  for (const n of [1, 2, 3]) writeFileSync(`${run.directory}/log.${n}.gz`, `was ${n}`);
  const { connectUnix } = await import("#program/unix-connect.ts");
  const client = connectUnix(`${run.directory}/shim.sock`);
  client.write(Buffer.from("A\x01\0\0\0\0\0\0\n"));
  assert.equal((await run.shim.exited).exitCode, 0);
  client.destroy();
  assert.deepEqual(run.files(), ["log", "log.1", "log.2.gz", "log.3.gz", "log.4.gz"]);
  assert.equal(readFileSync(`${run.directory}/log.4.gz`, "utf8"), "was 3");
  assert.equal(jsonTexts(`${run.directory}/log.1`), "one\n");
});

test("one file only: a new one takes its place", async () => {
  const run = start("seq -f 'line %.0f' 3000", { logRotation: { limit: 5000, files: 1 } });
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.deepEqual(run.files(), ["log"]);
  assert.ok(statSync(run.log).size < 5200);
  assert.ok(NUMBERS.endsWith(jsonTexts(run.log)));
});

test("while somebody has the lock the file grows on, and is rotated afterwards", async () => {
  const [gate, second] = [fixture.path("gate"), fixture.path("second-gate")];
  const wait = (path: string) => `while [ ! -e ${path} ]; do sleep 0.01; done`;
  const run = start(`${wait(gate)}; seq -f 'line %.0f' 1000; ${wait(second)}; seq -f 'line %.0f' 1001 3000`, {
    logRotation: { limit: 5000, files: 0 },
  });
  await run.shim.started;
  {
    using lock = new FileDescriptor(open(run.directory, O_RDONLY | O_DIRECTORY));
    assert.ok(tryLock(lock.number));
    writeFileSync(gate, "");
    await until("all is written", () => rawText(run.log).includes('"line 1000\\n"'));
    assert.deepEqual(run.files(), ["log"]);
  }
  writeFileSync(second, "");
  assert.equal((await run.shim.exited).exitCode, 0);
  const files = inOrder(run.directory, run.files());
  assert.ok(files.length > 3);
  assert.equal(files.map(jsonTexts).join(""), NUMBERS);
});

test("where no new file can be made the old one goes on", async () => {
  const run = start("read x; seq -f 'line %.0f' 3000", {
    stdin: true,
    logRotation: { limit: 5000, files: 3 },
  });
  await run.shim.started;
  // Unlinking fails with EISDIR, and so does making it.
  mkdirSync(`${run.directory}/log.new`);
  const { connectUnix } = await import("#program/unix-connect.ts");
  const client = connectUnix(`${run.directory}/shim.sock`);
  client.write(Buffer.from("A\x01\0\0\0\0\0\0\n"));
  assert.equal((await run.shim.exited).exitCode, 0);
  client.destroy();
  assert.equal(jsonTexts(run.log), NUMBERS);
});

test("local: streams, times, long lines in parts, bytes that are no text, an end without newline", async () => {
  const before = BigInt(Date.now()) * 1_000_000n;
  const run = start(
    "printf 'a\\377b\\n\\n'; head -c 40000 /dev/zero | tr '\\0' x; echo; echo problem >&2; printf end",
    { logLocal: true },
  );
  assert.equal((await run.shim.exited).exitCode, 0);
  const entries = localEntries(readFileSync(run.log));
  const out = entries.filter(({ stream }) => stream === "stdout");
  assert.deepEqual(
    out.map(({ line }) => line.length),
    [3, 0, 16384, 16384, 7232, 3],
  );
  assert.deepEqual(Buffer.from(out[0]?.line ?? []), Buffer.from("a\xffb", "latin1"));
  const parts = out.map(({ partial }) => partial);
  assert.deepEqual(
    parts.map((part) => part && [part.ordinal, part.last]),
    [undefined, undefined, [1, false], [2, false], [3, true], [1, false]],
  );
  assert.match(parts[2]?.id ?? "", /^[0-9a-f]{64}$/);
  assert.equal(parts[2]?.id, parts[4]?.id);
  assert.notEqual(parts[2]?.id, parts[5]?.id);
  assert.deepEqual(
    entries.filter(({ stream }) => stream === "stderr").map(({ line }) => Buffer.from(line).toString()),
    ["problem"],
  );
  for (const { time } of entries) assert.ok(time >= before && time < before + 60_000_000_000n);
});

test("local: a disk that fills up leaves whole entries", async () => {
  for (const limit of [500, 17_000, 66_000, 100_001]) {
    const run = start(
      "for i in 1 2 3 4 5 6 7 8; do seq 1000 2000; head -c 16000 /dev/zero | tr '\\0' x; echo; done",
      {
        logLocal: true,
        logLimit: limit,
      },
    );
    assert.equal((await run.shim.exited).exitCode, 0);
    const bytes = readFileSync(run.log);
    assert.ok(bytes.length <= limit && bytes.length > limit - 17_000);
    assert.ok(localEntries(bytes).length > 0);
  }
});

test("a run that goes on with a file that is full already begins a new one", async () => {
  const directory = fixture.path("again");
  mkdirSync(directory);
  writeFileSync(
    `${directory}/log`,
    `${JSON.stringify({ log: "old\n", stream: "stdout", time: "2026-01-01T00:00:00Z" })}\n`,
  );
  const run = start("echo new", { log: `${directory}/log`, logRotation: { limit: 20, files: 3 } });
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.equal(jsonTexts(`${directory}/log.1`), "old\n");
  assert.equal(jsonTexts(`${directory}/log`), "new\n");
});

test("a log emptied by somebody else is not taken for a full one", async () => {
  const gate = fixture.path("emptied");
  const run = start(`seq 100; while [ ! -e ${gate} ]; do sleep 0.01; done; echo after`, {
    logRotation: { limit: 8000, files: 3 },
  });
  await until("it is there", () => /"100\\n".*\n$/.test(rawText(run.log)));
  spawnSync("truncate", ["-s", "0", run.log]);
  writeFileSync(gate, "");
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.deepEqual(run.files(), ["log"]);
  assert.equal(jsonTexts(run.log), "after\n");
});
