/** The engine's small pure parts. */
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import fc from "fast-check";
import type { ContainerState } from "#api-types/container.ts";
import { filterProcesses } from "#engine/containers/process-table.ts";
import { randomName } from "#engine/containers/random-name.ts";
import { nextBackoff, wantsRestart, wantsStartWithDaemon } from "#engine/containers/restart-policy.ts";
import { durationText, statusText } from "#engine/containers/status-text.ts";
import { parseSecurityOptions } from "#engine/launch/security-options.ts";
import { SerialQueue } from "#engine/serial-queue.ts";
import { DetachFilter, parseDetachKeys } from "#engine/streams/detach-keys.ts";
import { formatNanoseconds, parseNanoseconds, ZERO_TIME } from "#engine/timestamps.ts";
import { isBerthError } from "#errors/errors.ts";

test("times survive formatting and parsing to the nanosecond", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }), (time) => {
      assert.equal(parseNanoseconds(formatNanoseconds(time)), time);
    }),
  );
  assert.equal(formatNanoseconds(1_500_000_000n), "1970-01-01T00:00:01.5Z");
  assert.equal(parseNanoseconds(ZERO_TIME), 0n);
});

test("durations read as Docker's", () => {
  const cases: [number, string][] = [
    [0.4, "Less than a second"],
    [1, "1 second"],
    [59, "59 seconds"],
    [60, "About a minute"],
    [150, "2 minutes"],
    [3600, "About an hour"],
    [7200, "2 hours"],
    [60 * 3600, "2 days"],
    [15 * 24 * 3600, "2 weeks"],
    [70 * 24 * 3600, "2 months"],
    [800 * 24 * 3600, "2 years"],
  ];
  for (const [seconds, text] of cases) assert.equal(durationText(seconds), text);
});

test("the status column tells state, code and age", () => {
  const state = {
    Status: "exited",
    ExitCode: 7,
    FinishedAt: "1970-01-01T00:00:10Z",
    StartedAt: ZERO_TIME,
  } as ContainerState;
  assert.equal(statusText(state, 15_000_000_000n), "Exited (7) 5 seconds ago");
  assert.equal(statusText({ ...state, Status: "created" }, 0n), "Created");
});

async function typed(keys: string, chunks: string[]): Promise<{ out: string; detached: boolean }> {
  let detached = false;
  const filter = new DetachFilter(parseDetachKeys(keys), () => {
    detached = true;
    filter.end();
    filter.push(null);
  });
  const parts: Buffer[] = [];
  filter.on("data", (part: Buffer) => parts.push(part));
  Readable.from(chunks.map((chunk) => Buffer.from(chunk))).pipe(filter);
  await new Promise((resolve) => filter.on("end", resolve));
  return { out: Buffer.concat(parts).toString(), detached };
}

test("the detach keys end the input, also split over chunks", async () => {
  assert.deepEqual(await typed("", ["ab\x10", "\x11"]), { out: "ab", detached: true });
});

test("half a detach sequence is ordinary input", async () => {
  assert.deepEqual(await typed("", ["a\x10b\x10\x10c"]), { out: "a\x10b\x10\x10c", detached: false });
  assert.deepEqual(await typed("", ["a\x10"]), { out: "a\x10", detached: false });
});

test("detach keys as long as nobody types them are refused, and held back are any number", async () => {
  assert.throws(
    () => parseDetachKeys(`${"a,".repeat(100_000)}b`),
    (error) => isBerthError(error, "invalid") && error.message.length < 200,
  );
  const filter = new DetachFilter(Buffer.alloc(200_000, "a"), () => {});
  const typed = Buffer.alloc(199_999, "a");
  filter.write(typed);
  filter.end("b");
  assert.equal((await buffer(filter)).toString(), `${typed}b`);
});

test("unknown detach keys are named", () => {
  assert.throws(
    () => parseDetachKeys("ctrl-p,f13"),
    /^BerthError: Invalid detach keys \(ctrl-p,f13\) provided$/,
  );
  assert.deepEqual([...parseDetachKeys("a,ctrl-@")], [97, 0]);
});

test("a queue runs one operation at a time, in order, also after a failure", async () => {
  const queue = new SerialQueue();
  const log: string[] = [];
  const slow = queue.run(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    log.push("slow");
    throw new Error("no");
  });
  const quick = queue.run(async () => void log.push("quick"));
  await assert.rejects(slow, /no/);
  await quick;
  assert.deepEqual(log, ["slow", "quick"]);
});

test("restart delays double up to a minute and start anew after a long run", () => {
  assert.deepEqual(
    [0, 100, 800, 51_200].map((before) => nextBackoff(before, 0n)),
    [100, 200, 1600, 60_000],
  );
  assert.equal(nextBackoff(60_000, 9_999_999_999n), 60_000);
  assert.equal(nextBackoff(60_000, 10_000_000_000n), 100);
});

test("restart policies: what an end, and what the daemon's return, means to each", () => {
  const cases: [
    name: string,
    code: number,
    stopped: boolean,
    atEnd: boolean,
    atBoot: boolean,
    cut: boolean,
  ][] = [
    ["no", 1, false, false, false, false],
    ["always", 0, false, true, true, true],
    ["always", 0, true, true, true, true],
    ["unless-stopped", 0, false, true, true, true],
    ["unless-stopped", 0, true, false, false, false],
    ["on-failure", 0, false, false, false, false],
    ["on-failure", 255, false, true, false, true],
    ["on-failure", 137, true, true, false, false],
  ];
  for (const [Name, ExitCode, manuallyStopped, atEnd, atBoot, cut] of cases) {
    const record = {
      hostConfig: { RestartPolicy: { Name, MaximumRetryCount: 0 } },
      state: { ExitCode },
      manuallyStopped,
      restartCount: 7,
    };
    const what = `${Name} ${ExitCode} ${manuallyStopped}`;
    assert.equal(wantsRestart(record), atEnd, what);
    assert.equal(wantsStartWithDaemon(record, false), atBoot, what);
    assert.equal(wantsStartWithDaemon(record, true), cut, what);
  }
  const bounded = {
    hostConfig: { RestartPolicy: { Name: "on-failure", MaximumRetryCount: 3 } },
    state: { ExitCode: 1 },
    manuallyStopped: false,
  };
  assert.equal(wantsRestart({ ...bounded, restartCount: 2 }), true);
  assert.equal(wantsRestart({ ...bounded, restartCount: 3 }), false);
  assert.equal(wantsStartWithDaemon({ ...bounded, restartCount: 3 }, true), false);
});

test("a random name is always found", () => {
  const taken = new Set<string>();
  for (let round = 0; round < 500; round++) {
    const name = randomName(
      (candidate) => taken.has(candidate),
      () => 0,
    );
    assert.ok(!taken.has(name));
    if (round < 3) taken.add(name);
    assert.match(name, /^[a-z]+_[a-z]+\d*$/);
  }
});

test("ps output is reduced to the container's processes", () => {
  const table = "UID  PID PPID CMD\nroot   1    0 /sbin/init\nroot  42    1 sh -c  'a b'\n";
  assert.deepEqual(filterProcesses(table, new Set(["42"])), {
    Titles: ["UID", "PID", "PPID", "CMD"],
    Processes: [["root", "42", "1", "sh -c 'a b'"]],
  });
  assert.throws(() => filterProcesses("USER CMD\n", new Set()), /PID field/);
});

test("security options", () => {
  assert.deepEqual(
    parseSecurityOptions(["no-new-privileges", "seccomp=unconfined", "systempaths=unconfined"]),
    {
      noNewPrivileges: true,
      seccomp: "unconfined",
      apparmor: undefined,
      unconfinedPaths: true,
      writableCgroups: undefined,
    },
  );
  assert.throws(() => parseSecurityOptions(["magic=on"]), /invalid --security-opt/);
});
