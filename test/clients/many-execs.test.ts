/**
 * A thousand execs at once wait in line: each ends with its own output and exit code, others are answered meanwhile, and
 * nothing is left. Also where the daemon may have no more than 1,024 descriptors. And so do containers.
 */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
const COUNT = 1000;
/** Where they wait for connections. */
const FEWER = 500;
const CONTAINERS = 10;
/** Containers that run to their ends at once. */
const RUNS = 300;
/** What the daemon may have in one of the tests. */
const DESCRIPTORS = 1024;

interface Answer {
  status: number;
  bytes: Buffer;
}

function ask(
  daemon: TestDaemon,
  method: string,
  path: string,
  body?: unknown,
  agent?: Agent,
): Promise<Answer> {
  return new Promise((done, failed) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const options = { socketPath: daemon.socket, method, path, headers, agent: agent ?? false };
    const sent = request(options, (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (chunk) => parts.push(chunk));
      answer.on("end", () => done({ status: answer.statusCode ?? 0, bytes: Buffer.concat(parts) }));
      answer.on("error", failed);
    });
    sent.on("error", failed);
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const descriptors = (daemon: TestDaemon) => readdirSync(`/proc/${daemon.pid}/fd`).length;

/** One from its creation to its exit code, each request on a connection of its own. */
async function runExec(daemon: TestDaemon, n: number): Promise<void> {
  const body = {
    Cmd: ["sh", "-c", `echo out-${n}; echo err-${n} >&2; exit ${n % 200}`],
    AttachStdout: true,
    AttachStderr: true,
  };
  const created = await ask(daemon, "POST", `/containers/execs-${n % CONTAINERS}/exec`, body);
  assert.equal(created.status, 201, created.bytes.toString());
  const { Id } = JSON.parse(created.bytes.toString()) as { Id: string };
  const started = await ask(daemon, "POST", `/exec/${Id}/start`, { Detach: false, Tty: false });
  assert.deepEqual(payloads(started.bytes), { 1: `out-${n}\n`, 2: `err-${n}\n` });
  const shown = await ask(daemon, "GET", `/exec/${Id}/json`);
  assert.equal((JSON.parse(shown.bytes.toString()) as { ExitCode: number }).ExitCode, n % 200);
}

/** As `docker run --rm`: waited for before it is started. */
async function runContainer(daemon: TestDaemon, n: number): Promise<void> {
  const body = { Image: IMAGE, Cmd: ["sh", "-c", `echo out-${n}; exit ${n % 200}`] };
  const created = await ask(daemon, "POST", `/v1.51/containers/create?name=run-${n}`, body);
  assert.equal(created.status, 201, created.bytes.toString());
  const waiting = ask(daemon, "POST", `/v1.51/containers/run-${n}/wait?condition=next-exit`);
  const started = await ask(daemon, "POST", `/v1.51/containers/run-${n}/start`);
  assert.equal(started.status, 204, started.bytes.toString());
  const ended = JSON.parse((await waiting).bytes.toString()) as { StatusCode: number };
  assert.equal(ended.StatusCode, n % 200);
  const logs = await ask(daemon, "GET", `/v1.51/containers/run-${n}/logs?stdout=1`);
  assert.deepEqual(payloads(logs.bytes), { 1: `out-${n}\n` });
  const removed = await ask(daemon, "DELETE", `/v1.51/containers/run-${n}`);
  assert.equal(removed.status, 204, removed.bytes.toString());
}

/** Of each stream, what its frames carry together. */
function payloads(bytes: Buffer): Record<number, string> {
  const texts: Record<number, string> = {};
  for (let at = 0; at < bytes.length; ) {
    const [stream, length] = [bytes.readUInt8(at), bytes.readUInt32BE(at + 4)];
    texts[stream] = (texts[stream] ?? "") + bytes.toString("utf8", at + 8, at + 8 + length);
    at += 8 + length;
  }
  return texts;
}

/** All of them side by side; answers how often others were answered meanwhile, and the most descriptors seen. */
async function runAll(
  daemon: TestDaemon,
  count: number,
): Promise<{ kept: number; fresh: number; most: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const seen = { kept: 0, fresh: 0, most: 0 };
  // The connection that is kept is there before the others come.
  await ask(daemon, "GET", "/_ping", undefined, agent);
  let left = count;
  const others = async (kind: "kept" | "fresh", path: string) => {
    while (left > 0) {
      assert.equal(
        (await ask(daemon, "GET", path, undefined, kind === "kept" ? agent : undefined)).status,
        200,
      );
      if (left > 0) seen[kind]++;
      seen.most = Math.max(seen.most, descriptors(daemon));
    }
  };
  const all = Array.from({ length: count }, (_, n) => runExec(daemon, n).finally(() => left--));
  const ends = Promise.allSettled([...all, others("kept", "/_ping"), others("fresh", "/containers/json")]);
  const failures = (await ends).flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
  agent.destroy();
  if (failures.length > 0) throw new AggregateError(failures, `${failures.length}: ${failures[0]}`);
  return seen;
}

async function withContainers(daemon: TestDaemon, work: () => Promise<void>): Promise<void> {
  try {
    daemon.loadBusybox();
    for (let n = 0; n < CONTAINERS; n++)
      daemon.ok("run", "-d", "--name", `execs-${n}`, IMAGE, "sleep", "1000");
    const before = descriptors(daemon);
    await work();
    await eventually(() => {
      assert.equal(daemon.shims().length, CONTAINERS);
      assert.deepEqual(readdirSync(join(daemon.execRoot, "execs")), []);
      assert.ok(descriptors(daemon) <= before + 4, `${descriptors(daemon)}, ${before} before`);
    });
    assert.doesNotMatch(daemon.log(), /level=error/);
  } finally {
    await daemon.stop();
  }
}

test(`${COUNT} execs at once all end as they should, while others are answered; then ${RUNS} containers`, async () => {
  const daemon = await TestDaemon.start({ subnet: 80, prefix: 22 });
  await withContainers(daemon, async () => {
    const { kept, fresh, most } = await runAll(daemon, COUNT);
    // Each a turn of the event loop or two behind the others, and not behind all of them.
    assert.ok(kept > 10 && fresh > 5, `answered ${kept} and ${fresh} times`);
    // A connection each, two more for those under way, and what the daemon has anyway.
    assert.ok(most < COUNT + 500, `${most} descriptors`);
    await Promise.all(Array.from({ length: RUNS }, (_, n) => runContainer(daemon, n)));
  });
});

test(`with ${DESCRIPTORS} descriptors they wait for connections, and none fails`, async () => {
  const through = ["prlimit", `--nofile=${DESCRIPTORS}:${DESCRIPTORS}`];
  const daemon = await TestDaemon.start({ subnet: 40, through });
  await withContainers(daemon, async () => {
    const { kept, most } = await runAll(daemon, FEWER);
    assert.ok(kept > 10, `answered ${kept} times`);
    assert.ok(most < DESCRIPTORS, `${most} descriptors`);
    assert.match(daemon.log(), /no more connections are taken until one ends/);
  });
});
