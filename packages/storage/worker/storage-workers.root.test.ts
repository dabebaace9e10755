import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BerthError, isBerthError } from "#errors/errors.ts";
import { makeNonblocking, makePipe } from "#kernel/pipes.ts";
import { read as readFd, write as writeFd } from "#kernel/syscalls.ts";
import { packTree } from "#storage/pack/pack-tree.ts";
import { createLayerUnpacker } from "#storage/unpack/layer-unpacker.ts";
import { defaultLimits } from "#storage/unpack/unpack-limits.ts";
import { StorageWorkers } from "#storage/worker/storage-workers.ts";
import { packError, unpackError } from "#storage/worker/worker-messages.ts";
import { threadCount, tidyThreads } from "#storage/worker/worker-threads.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const PIDS = "/sys/fs/cgroup/pids";

describe("storage workers", { skip: process.geteuid?.() !== 0 && "needs root" }, () => {
  let base: string;
  beforeEach(() => {
    base = mkdtempSync(join(tmpdir(), "berth-workers-"));
    mkdirSync(join(base, "tree"));
    for (let i = 0; i < 30; i++)
      writeFileSync(join(base, "tree", `file-${i}`), "x".repeat(100_000), { mode: 0o666 });
    writeFileSync(join(base, "layer"), Buffer.concat([...packTree(join(base, "tree"))]));
  });
  afterEach(() => rmSync(base, { recursive: true }));
  const request = (name: string) => {
    const target = join(base, name);
    mkdirSync(target);
    return { source: join(base, "layer"), target, whiteouts: "overlay" as const };
  };

  test("layers are unpacked side by side, without touching the daemon's umask", async () => {
    const unpacker = createLayerUnpacker({ threads: 2 });
    const before = process.umask();
    const progress: number[] = [];
    const results = await Promise.all(
      ["a", "b", "c"].map((name) =>
        unpacker.unpack({ ...request(name), onProgress: (consumed) => progress.push(consumed) }),
      ),
    );
    assert.equal(process.umask(), before);
    assert.equal(new Set(results.map(({ diffId }) => diffId)).size, 1);
    assert.equal(results[0]?.size, 3_000_000);
    assert.equal(readFileSync(join(base, "c", "file-7"), "utf8").length, 100_000);
    assert.equal(statSync(join(base, "b", "file-7")).mode, statSync(join(base, "tree", "file-7")).mode);
    assert.ok(progress.length >= 3);
    await unpacker.close();
  });

  test("where no thread is to be had, the task fails and the next one goes on", {
    skip: !existsSync(PIDS) && "needs the pids controller of cgroup v1",
  }, async () => {
    const group = join(PIDS, `berth-threads-${process.pid}`);
    const unpacker = createLayerUnpacker({ threads: 6 });
    mkdirSync(group);
    try {
      writeFileSync(join(group, "cgroup.procs"), String(process.pid));
      writeFileSync(join(group, "pids.max"), readFileSync(join(group, "pids.current"), "utf8"));
      // Threads of other tests may be resting, but not as many.
      const asked = await Promise.allSettled(
        ["a", "b", "c", "d", "e", "f"].map((name) => unpacker.unpack(request(name))),
      );
      assert.ok(asked.some(({ status }) => status === "rejected"));
      writeFileSync(join(group, "pids.max"), "max");
      assert.equal((await unpacker.unpack(request("g"))).size, 3_000_000);
    } finally {
      writeFileSync(join(PIDS, "cgroup.procs"), String(process.pid));
      // The process has left it, but the kernel may need a moment more.
      await eventually(() => rmdirSync(group));
      await unpacker.close();
    }
  });

  test("errors come back as what they were", async () => {
    const unpacker = createLayerUnpacker({ threads: 1 });
    writeFileSync(
      join(base, "layer"),
      "no archive at all, and long enough to hold a header block".repeat(20),
    );
    await assert.rejects(
      unpacker.unpack(request("a")),
      (error) => isBerthError(error, "invalid") && error.operation === "read archive",
    );
    await assert.rejects(unpacker.unpack({ ...request("b"), source: join(base, "none") }), {
      message: /ENOENT/,
    });
    // The thread goes on after a failure.
    writeFileSync(join(base, "layer"), Buffer.alloc(1024));
    assert.equal((await unpacker.unpack(request("c"))).size, 0);
    await unpacker.close();
  });

  test("a signal cancels what waits and what runs", async () => {
    const unpacker = createLayerUnpacker({ threads: 1 });
    const controller = new AbortController();
    const running = unpacker.unpack({ ...request("a"), signal: controller.signal });
    const waiting = unpacker.unpack({ ...request("b"), signal: controller.signal });
    const both = [running, waiting].map((task) => assert.rejects(task, { name: "AbortError" }));
    controller.abort();
    await Promise.all(both);
    await assert.rejects(unpacker.unpack({ ...request("c"), signal: controller.signal }), {
      name: "AbortError",
    });
    assert.ok((await unpacker.unpack(request("d"))).size > 0);
    await unpacker.close();
  });

  test("one after another uses the same thread, and closing fails only what is its own", async () => {
    // Threads that rest from other tests would end while this one counts.
    await tidyThreads();
    const [some, others] = [new StorageWorkers(1), new StorageWorkers(1)];
    await some.run({ kind: "remove", path: join(base, "tree") });
    assert.ok(!existsSync(join(base, "tree")));
    const before = threadCount();
    await others.run({ kind: "sync", path: base });
    await some.run({ kind: "sync", path: base });
    assert.equal(threadCount(), before);
    const left = ["nothing", "nothing else"].map((name) =>
      some.run({ kind: "remove", path: join(base, name) }),
    );
    const failed = left.map((one) => assert.rejects(one, (error) => isBerthError(error, "unavailable")));
    const kept = others.run({ kind: "measure", path: base });
    await some.close();
    await Promise.all(failed);
    assert.equal(typeof (await kept), "number");
    await assert.rejects(some.run({ kind: "sync", path: base }), (error) =>
      isBerthError(error, "unavailable"),
    );
    await others.run({ kind: "sync", path: base });
    await others.close();
  });

  test("what is full has its tasks wait, and nobody else's", async () => {
    const [full, free] = [new StorageWorkers(1), new StorageWorkers(1)];
    const { read, write } = makePipe();
    const limits = defaultLimits;
    const reading = full.run({
      kind: "stage",
      task: { source: read.number, whiteouts: "overlay", limits },
    });
    let done = false;
    const waiting = full.run({ kind: "sync", path: base }).then(() => {
      done = true;
    });
    await free.run({ kind: "sync", path: base });
    assert.ok(!done);
    write.close();
    await Promise.all([reading, waiting]);
    read.close();
    await Promise.all([full.close(), free.close()]);
  });

  test("one whose client stands still keeps its place until somebody wants it", async () => {
    const workers = new StorageWorkers(1, 500);
    const stage = () => {
      const { read, write } = makePipe();
      const task = { source: read.number, whiteouts: "overlay", limits: defaultLimits } as const;
      return { read, write, result: workers.run({ kind: "stage", task }) };
    };
    const sending = stage();
    let left = false;
    const stalled = assert
      .rejects(
        sending.result,
        (error) => isBerthError(error, "unavailable") && /others waited/.test(error.message),
      )
      .then(() => {
        left = true;
      });
    await sleep(1500);
    assert.ok(!left);
    await workers.run({ kind: "sync", path: base });
    await stalled;
    // Taking in turns: what its client doesn't take is the other direction of the same.
    const sink = makePipe(4096);
    makeNonblocking(sink.write);
    const bytes = new Uint8Array(1 << 20);
    const task = { pieces: [bytes], sink: { fd: sink.write.number, framing: "plain" as const } };
    const taking = workers.run({ kind: "archive", task });
    const refused = assert.rejects(taking, (error) => isBerthError(error, "unavailable"));
    await workers.run({ kind: "sync", path: base });
    await refused;
    for (const end of [sending.read, sending.write, sink.read, sink.write]) end.close();
    await workers.close();
  });

  test("a byte now and then keeps no place", async () => {
    const workers = new StorageWorkers(2, 500);
    const { read: start, write: end } = makePipe();
    const source = { source: start.number, whiteouts: "overlay", limits: defaultLimits } as const;
    const sink = makePipe(4096);
    makeNonblocking(sink.write);
    const pieces = [new Uint8Array(1 << 20)];
    const target = { pieces, sink: { fd: sink.write.number, framing: "plain" as const } };
    const slow = [
      workers.run({ kind: "stage", task: source }),
      workers.run({ kind: "archive", task: target }),
    ];
    let both = false;
    const refused = Promise.all(
      slow.map((one) => assert.rejects(one, (error) => isBerthError(error, "unavailable"))),
    ).then(() => {
      both = true;
    });
    const page = Buffer.alloc(128);
    makeNonblocking(sink.read);
    const trickle = setInterval(() => {
      try {
        readFd(sink.read.number, page);
        writeFd(end.number, page.subarray(0, 1));
      } catch {
        // Nothing has come since, or the task that was at the other end has ended.
      }
    }, 50);
    try {
      // There is always one that waits, also once the first has lost its place.
      const others = [1, 2, 3].map(async () => {
        do await workers.run({ kind: "measure", path: base });
        while (!both);
      });
      await Promise.all([...others, refused]);
    } finally {
      clearInterval(trickle);
      for (const fd of [start, end, sink.read, sink.write]) fd.close();
      await workers.close();
    }
  });

  test("an error keeps code, hint and cause on the way", () => {
    const error = new BerthError("no-space", "full", { operation: "o", hint: "h", cause: new Error("why") });
    const back = unpackError(packError(error));
    assert.ok(isBerthError(back, "no-space") && back.hint === "h" && back.operation === "o");
    assert.equal((back.cause as Error).message, "why");
  });
});
