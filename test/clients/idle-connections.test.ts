/**
 * A thousand connections that say nothing, or half of something: other clients are answered as ever, the daemon's memory
 * stays what it was, and its descriptors come back. Heads that never end and bodies that stall cost their own client.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const COUNT = 1000;
/** What a connection may cost the daemon, KiB. */
const EACH_KIB = 64;
const PING = "GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n";
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 45 });
  daemon.loadBusybox();
});
after(() => daemon.stop());

const descriptors = () => readdirSync(`/proc/${daemon.pid}/fd`).length;
const residentKiB = () =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))?.[1]);

interface Idle {
  socket: Socket;
  text: string;
  ended: boolean;
}

/** A connection that has sent this much and waits. */
function open(sent: string): Idle {
  const idle: Idle = {
    socket: connect({ path: daemon.socket, allowHalfOpen: true }),
    text: "",
    ended: false,
  };
  idle.socket.on("error", () => {});
  idle.socket.on("data", (chunk: Buffer) => {
    idle.text += chunk.toString("latin1");
  });
  idle.socket.on("end", () => {
    idle.ended = true;
  });
  if (sent !== "") idle.socket.write(sent);
  return idle;
}

/** Opens so many, looks at the daemon with all of them there, closes them, and looks whether all is back. */
async function withMany(sent: string, there: (all: Idle[]) => void | Promise<void>): Promise<void> {
  await eventually(() => assert.ok(descriptors() < 100));
  const before = { descriptors: descriptors(), memory: residentKiB() };
  const all = Array.from({ length: COUNT }, () => open(sent));
  await eventually(() => assert.ok(descriptors() > COUNT, `${descriptors()}`));
  await there(all);
  // The docker command line, on connections of its own.
  assert.equal(daemon.ok("run", "--rm", "berth/busybox", "echo", "well"), "well");
  const growth = residentKiB() - before.memory;
  assert.ok(growth < COUNT * EACH_KIB, `the daemon has grown by ${growth} KiB`);
  for (const { socket } of all) socket.destroy();
  await eventually(() =>
    assert.ok(descriptors() <= before.descriptors + 4, `${descriptors()}, ${before.descriptors} before`),
  );
}

test(`${COUNT} connections without a word`, () => withMany("", () => {}));

test(`${COUNT} connections that are kept after an answer, and used again`, () =>
  withMany(PING, async (all) => {
    await eventually(() => assert.ok(all.every(({ text }) => text.endsWith("OK"))));
    for (const one of all) one.text = "";
    for (const { socket } of all) socket.write(PING);
    await eventually(() => assert.ok(all.every(({ text }) => text.endsWith("OK"))));
  }));

test(`${COUNT} heads that do not end`, () =>
  withMany("GET /_ping HTTP/1.1\r\nHost: x\r\nX-Slow: ", (all) => {
    for (const { socket } of all) socket.write("a");
    assert.ok(all.every(({ text }) => text === ""));
  }));

test(`${COUNT} bodies that stall`, () =>
  withMany(
    'POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{"Image":',
    (all) => assert.ok(all.every(({ text }) => text === "")),
  ));

test(`${COUNT} clients that wait for a container are all told of its end`, async () => {
  daemon.ok("run", "-d", "--name", "awaited", "berth/busybox", "sleep", "1000");
  await withMany("POST /v1.51/containers/awaited/wait HTTP/1.1\r\nHost: x\r\n\r\n", async (all) => {
    await eventually(() => assert.ok(all.every(({ text }) => text.startsWith("HTTP/1.1 200"))));
    daemon.ok("kill", "awaited");
    await eventually(() => assert.ok(all.every(({ text }) => /"StatusCode":137/.test(text))));
  });
  daemon.ok("rm", "awaited");
});

test("clients that have gone half are let go, waiting or not", async () => {
  daemon.ok("run", "-d", "--name", "half", "berth/busybox", "sleep", "1000");
  const before = descriptors();
  const waiting = [
    "/events",
    "/containers/half/logs?stdout=1&follow=1",
    "/containers/half/stats",
    "/_ping",
  ].map((path) => Array.from({ length: 50 }, () => open(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`)));
  const all = waiting.flat();
  await eventually(() => assert.ok(all.every(({ text }) => text.startsWith("HTTP/1.1 200"))));
  for (const { socket } of all) socket.end();
  await eventually(() => assert.ok(all.every(({ ended }) => ended)));
  await eventually(() => assert.ok(descriptors() <= before + 4, `${descriptors()}, ${before} before`));
  daemon.ok("rm", "-f", "half");
});

test("a head larger than it may be, and a body larger than it may be, are refused by name", async () => {
  const head = open(`GET /_ping HTTP/1.1\r\nHost: x\r\nX-Large: ${"a".repeat(300_000)}\r\n\r\n`);
  await eventually(() => assert.match(head.text, /^HTTP\/1\.1 431 [\s\S]*request header too large/));
  const headers = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 5000000";
  const body = open(`POST /containers/create HTTP/1.1\r\n${headers}\r\n\r\n`);
  await eventually(() => assert.match(body.text, /^HTTP\/1\.1 413 [\s\S]*the limit is 4194304 bytes/));
  for (const { socket } of [head, body]) socket.destroy();
});
