import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { Client, DaemonError, NoDaemonError } from "#client/client.ts";
import { copyOutput, Demultiplexer } from "#client/demultiplex.ts";
import { chooseEndpoint } from "#client/endpoint.ts";
import { jsonLines } from "#client/json-lines.ts";

async function server(
  t: TestContext,
  handler: http.RequestListener,
): Promise<{ client: Client; http: http.Server }> {
  const directory = mkdtempSync(join(tmpdir(), "berth-client-"));
  const socket = join(directory, "s.sock");
  const listening = http.createServer(handler);
  await new Promise<void>((resolve) => listening.listen(socket, resolve));
  const client = new Client(chooseEndpoint({ host: `unix://${socket}` }, {}));
  t.after(() => {
    client.close();
    listening.closeAllConnections();
    listening.close();
    rmSync(directory, { recursive: true });
  });
  return { client, http: listening };
}

test("JSON goes out and comes back; the query is encoded; one connection serves all", async (t) => {
  const seen: unknown[] = [];
  const sockets = new Set<unknown>();
  const { client } = await server(t, (request, response) => {
    sockets.add(request.socket);
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => {
      seen.push([request.method, request.url, request.headers["content-type"], body]);
      response.end('{"ok":1}');
    });
  });
  const answer = await client.json("POST", "/x", {
    query: { a: "b c", flag: true, no: undefined, many: ["1", "2"] },
    body: { k: "é" },
  });
  assert.deepEqual(answer, { ok: 1 });
  await client.json("GET", "/y");
  assert.deepEqual(seen, [
    ["POST", "/x?a=b%20c&flag=1&many=1&many=2", "application/json", '{"k":"é"}'],
    ["GET", "/y", undefined, ""],
  ]);
  assert.equal(sockets.size, 1);
});

test("a refusal carries the daemon's message and status", async (t) => {
  const { client } = await server(t, (_, response) => {
    response.statusCode = 404;
    response.end('{"message":"No such container: x"}');
  });
  await assert.rejects(client.json("GET", "/containers/x/json"), (error) => {
    assert.ok(error instanceof DaemonError);
    assert.equal(error.status, 404);
    assert.equal(error.code, "not-found");
    assert.equal(error.message, "No such container: x");
    return true;
  });
});

test("nobody listening is told apart", async () => {
  const client = new Client(chooseEndpoint({ host: "unix:///nonexistent/berth.sock" }, {}));
  await assert.rejects(client.ping(), NoDaemonError);
});

test("a taken-over connection carries both ways, and the half-close", async (t) => {
  const { client, http: listening } = await server(t, () => {});
  listening.on("upgrade", (_request, socket) => {
    socket.write(
      "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n" +
        "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nfirst:",
    );
    let input = "";
    socket.on("data", (chunk) => (input += chunk));
    socket.on("end", () => socket.end(`got ${input}`));
  });
  const { socket, multiplexed } = await client.hijack("POST", "/attach", { body: { Detach: false } });
  assert.equal(multiplexed, true);
  socket.end("hello");
  let text = "";
  for await (const chunk of socket) text += chunk;
  assert.equal(text, "first:got hello");
});

test("endpoints: flag before BERTH_HOST before DOCKER_HOST before the default", () => {
  assert.deepEqual(chooseEndpoint({}, {}), {
    host: "unix:///run/berth/berth.sock",
    socketPath: "/run/berth/berth.sock",
    explicit: false,
  });
  const env = { DOCKER_HOST: "tcp://10.0.0.1:99", BERTH_HOST: "unix:///a" };
  assert.equal(chooseEndpoint({}, env).socketPath, "/a");
  assert.deepEqual(chooseEndpoint({ host: "tcp://[::1]:5" }, env).address, { host: "::1", port: 5 });
  assert.deepEqual(chooseEndpoint({}, { DOCKER_HOST: "tcp://h", DOCKER_TLS_VERIFY: "1", HOME: "/r" }), {
    host: "tcp://h",
    address: { host: "h", port: 2376 },
    tls: { ca: "/r/.docker/ca.pem", cert: "/r/.docker/cert.pem", key: "/r/.docker/key.pem", verify: true },
    explicit: true,
  });
  assert.throws(() => chooseEndpoint({ host: "ftp://x" }, {}), /unable to parse docker host/);
});

test("demultiplexing gives the same however the bytes are cut", () => {
  const frames = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 40 })));
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 20 })), (list, cuts) => {
      const bytes = Buffer.concat(
        list.flatMap(([stream, payload]) => {
          const head = Buffer.alloc(8);
          head[0] = stream;
          head.writeUInt32BE(payload.length, 4);
          return [head, Buffer.from(payload)];
        }),
      );
      const out: Record<number, Buffer[]> = { 1: [], 2: [] };
      const demultiplexer = new Demultiplexer((stream, payload) => out[stream]?.push(Buffer.from(payload)));
      let at = 0;
      for (const cut of [...cuts, bytes.length]) {
        demultiplexer.push(bytes.subarray(at, at + cut));
        at += cut;
      }
      demultiplexer.push(bytes.subarray(at));
      for (const stream of [1, 2]) {
        const wanted = list.filter(([s]) => s === stream).map(([, payload]) => Buffer.from(payload));
        assert.deepEqual(Buffer.concat(out[stream] ?? []), Buffer.concat(wanted));
      }
    }),
  );
});

test("an error frame in a stream ends the copy with its text", async () => {
  const head = Buffer.from([3, 0, 0, 0, 0, 0, 0, 4]);
  const copy = copyOutput(
    Readable.from([Buffer.concat([head, Buffer.from("oops")])]),
    true,
    new PassThrough(),
    new PassThrough(),
  );
  await assert.rejects(copy, /oops/);
});

test("JSON lines survive any cut, also inside a character", async () => {
  const bytes = Buffer.from('{"a":"é"}\n\n{"b":2}');
  const parts = [...bytes].map((byte) => Buffer.from([byte]));
  const values: unknown[] = [];
  for await (const value of jsonLines(Readable.from(parts))) values.push(value);
  assert.deepEqual(values, [{ a: "é" }, { b: 2 }]);
});
