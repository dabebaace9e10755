import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdirSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { FakeRegistry } from "./testing/fake-registry.ts";
import { fileLayer, testImage } from "./testing/images.ts";
import { assertNothingLeft, imageFixture } from "./testing/temporary.ts";

const mebibyte = 1 << 20;

/** An image of four layers of 2.5 MiB, and a registry that counts the bytes of blobs it sends. */
async function setUp(t: TestContext, patience?: number) {
  const fixture = await imageFixture(t, {
    maxConcurrentDownloads: 1,
    ...(patience === undefined ? {} : { patience }),
  });
  const registry = await FakeRegistry.start(t);
  const layers = [1, 2, 3, 4].map((n) => fileLayer(`file${n}`, randomBytes(2.5 * mebibyte)));
  const { layers: blobs } = registry.publish("big", "latest", testImage(layers), {
    format: "oci",
    compression: "none",
  });
  const total = blobs.reduce((sum, { size }) => sum + size, 0);
  const count = { sent: 0, limit: Number.POSITIVE_INFINITY };
  registry.fault = (request, response) => {
    const blob = registry.blobs.get(request.url?.split("/").at(-1) ?? "");
    if (blob === undefined || blob.length < mebibyte) return false;
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    sendSome(response, blob, from, count);
    return true;
  };
  const pull = (service = fixture.service, signal?: AbortSignal) =>
    service.pull({
      name: `${registry.host}/big`,
      tag: "",
      platform: "",
      report: () => {},
      ...(signal === undefined ? {} : { signal }),
    });
  return { fixture, registry, pull, count, total, blobs };
}

/** Sends the blob from there on until the count is full, then cuts the connection. */
function sendSome(
  response: ServerResponse,
  blob: Buffer,
  from: number,
  count: { sent: number; limit: number },
): void {
  const part = blob.subarray(from, from + Math.max(0, count.limit - count.sent));
  count.sent += part.length;
  response.writeHead(from > 0 ? 206 : 200, {
    "content-length": blob.length - from,
    ...(from > 0 ? { "content-range": `bytes ${from}-${blob.length - 1}/${blob.length}` } : {}),
  });
  if (part.length === blob.length - from) response.end(part);
  else response.write(part, () => response.destroy());
}

test("a pull cut at nine tenths goes on from there: no byte comes twice", async (t) => {
  const { fixture, pull, count, total } = await setUp(t);
  count.limit = Math.floor(total * 0.9);
  await assert.rejects(pull(), /unexpected EOF/);
  assert.equal(count.sent, count.limit);
  assert.equal(fixture.service.count(), 0);
  assert.deepEqual(fixture.storage.list(), []);
  count.limit = Number.POSITIVE_INFINITY;
  await pull();
  assert.equal(count.sent, total);
  assert.equal(fixture.service.count(), 1);
  assert.deepEqual(readdirSync(join(fixture.root, "image", "partial")), []);
  assert.deepEqual(readdirSync(join(fixture.root, "image", "blobs", "sha256")), []);
});

test("so does one that the daemon's end cut", async (t) => {
  const { fixture, registry, pull, count, total } = await setUp(t);
  const nineTenths = Math.floor(total * 0.9);
  const cut = registry.fault;
  const { promise: reached, resolve: reach } = Promise.withResolvers<void>();
  registry.fault = (request, response) => {
    const blob = registry.blobs.get(request.url?.split("/").at(-1) ?? "");
    if (blob === undefined || count.sent + blob.length < nineTenths) return cut(request, response);
    // The last one stalls at that point until the client goes.
    const part = blob.subarray(0, nineTenths - count.sent);
    count.sent += part.length;
    response.writeHead(200, { "content-length": blob.length });
    response.write(part, () => reach());
    return true;
  };
  const pulling = assert.rejects(pull(), /shutting down/);
  await reached;
  // What was sent is on its way to the file; the end must not come before it.
  const partial = join(fixture.root, "image", "partial");
  while (!(await hasBytes(partial, nineTenths % (total / 4)))) await new Promise(setImmediate);
  await fixture.service.stop();
  await pulling;
  registry.fault = cut;
  const next = await fixture.restart();
  await pull(next);
  assert.equal(count.sent, total);
  assert.equal(next.count(), 1);
});

async function hasBytes(directory: string, bytes: number): Promise<boolean> {
  const { stat } = await import("node:fs/promises");
  for (const name of readdirSync(directory)) {
    const found = await stat(join(directory, name)).catch(() => undefined); // renamed meanwhile
    if (found !== undefined && Math.abs(found.size - bytes) < 10) return true;
  }
  return false;
}

test("what a killed daemon had taken in whole is not fetched again", async (t) => {
  const { fixture, pull, count, total, blobs, registry } = await setUp(t);
  const [first] = blobs;
  const directory = join(fixture.root, "image", "blobs", "sha256");
  const hex = first?.digest.slice("sha256:".length) ?? "";
  writeFileSync(join(directory, hex), registry.blobs.get(first?.digest ?? "") ?? "");
  const next = await fixture.restart();
  await pull(next);
  assert.equal(count.sent, total - (first?.size ?? 0));
});

test("what is left from before and turns out damaged is fetched anew", async (t) => {
  const { fixture, pull, count, total, blobs } = await setUp(t);
  const [first] = blobs;
  const hex = first?.digest.slice("sha256:".length) ?? "";
  writeFileSync(join(fixture.root, "image", "partial", hex), Buffer.alloc(2 * mebibyte, "?"));
  await pull();
  assert.equal(fixture.service.count(), 1);
  assert.equal(count.sent, total + (first?.size ?? 0) - 2 * mebibyte);
});

test("a client that leaves and comes back loses nothing either", async (t) => {
  const { fixture, registry, pull, count, total } = await setUp(t);
  const leaving = new AbortController();
  const cut = registry.fault;
  registry.fault = (request, response) => {
    const handled = cut(request, response);
    if (count.sent === total) leaving.abort(new Error("gone"));
    return handled;
  };
  await assert.rejects(pull(fixture.service, leaving.signal), /gone/);
  const before = count.sent;
  registry.fault = cut;
  await pull();
  // Only the last layer may have been on its way.
  assert.ok(count.sent - before <= total / 4);
  assert.equal(fixture.service.count(), 1);
});

test("a registry that only trickles is given up", async (t) => {
  // Far more than the pauses of a busy machine: a trickle that stops would count as silence.
  const { fixture, registry, pull } = await setUp(t, 2000);
  const trickles: NodeJS.Timeout[] = [];
  t.after(() => trickles.forEach(clearInterval));
  registry.fault = (request, response) => {
    const blob = registry.blobs.get(request.url?.split("/").at(-1) ?? "");
    if (blob === undefined || blob.length < mebibyte) return false;
    response.writeHead(200, { "content-length": blob.length });
    trickles.push(setInterval(() => response.write("x"), 20));
    return true;
  };
  await assert.rejects(pull(), { code: "internal", message: /i\/o timeout, the registry only trickles/ });
  assertNothingLeft(fixture);
});

test("a registry that falls silent, or never comes to the end of a manifest, is given up", async (t) => {
  const { fixture, registry, pull } = await setUp(t, 600);
  registry.fault = (request, response) => {
    const blob = registry.blobs.get(request.url?.split("/").at(-1) ?? "");
    if (blob === undefined || blob.length < mebibyte) return false;
    response.writeHead(200, { "content-length": blob.length });
    response.write(blob.subarray(0, 1000));
    return true;
  };
  await assert.rejects(pull(), { code: "internal", message: /^Get ".*": unexpected EOF|i\/o timeout/ });
  const trickles: NodeJS.Timeout[] = [];
  t.after(() => trickles.forEach(clearInterval));
  registry.fault = (request, response) => {
    if (!request.url?.includes("/manifests/")) return false;
    response.writeHead(200, { "content-length": 10_000 });
    trickles.push(setInterval(() => response.write(" "), 20));
    return true;
  };
  await assert.rejects(pull(), { code: "internal", message: /timeout/ });
  registry.fault = (request) => Boolean(request.url?.includes("/manifests/"));
  await assert.rejects(pull(), { code: "internal", message: /timeout/ });
  assertNothingLeft(fixture);
});

test("a blob of another length than the manifest says", async (t) => {
  const { registry, pull, blobs } = await setUp(t);
  const digest = blobs[0]?.digest ?? "";
  registry.fault = () => false;
  const whole = registry.blobs.get(digest) ?? Buffer.alloc(0);
  registry.blobs.set(digest, whole.subarray(0, 1000));
  await assert.rejects(pull(), {
    message: /: the registry has 1000 bytes, its manifest says \d+/,
  });
  registry.blobs.set(digest, Buffer.concat([whole, whole]));
  await assert.rejects(pull(), { message: /: the registry has \d+ bytes, its manifest says \d+/ });
});
