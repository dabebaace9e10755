/** Passing logs on: to every kind of destination, through failures, rotations, and a worker that is stopped anywhere. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { setDefaultAutoSelectFamilyAttemptTimeout } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { decodeMulti, encode } from "@msgpack/msgpack";
import {
  AF_UNIX,
  bind,
  encodeUnixAddress,
  MSG_DONTWAIT,
  recv,
  SOCK_DGRAM,
  socket,
} from "#kernel/socket-syscalls.ts";
import { type ContainerLogs, containerLogs } from "#logs/container-logs.ts";
import type { ContainerInfo } from "#logs/options/container-info.ts";
import { readLog } from "#logs/read-log.ts";
import { shipLog } from "#logs/ship-log.ts";
import type { ShipTask } from "#logs/ship-types.ts";
import { RotatingWriter } from "#logs/testing/rotating-writer.ts";
import { datagramServer, httpServer, streamServer } from "#logs/testing/servers.ts";
import { eventually } from "#test/fixtures/eventually.ts";
import { freePorts } from "#test/fixtures/free-ports.ts";

const root = mkdtempSync(join(tmpdir(), "berth-ship-"));
after(() => rmSync(root, { recursive: true }));
// "localhost" has two addresses: on a busy machine the right one is not to be given up for the other.
setDefaultAutoSelectFamilyAttemptTimeout(60_000);

const ID = "0123456789abcdef".repeat(4);

interface Shipped {
  logs: ContainerLogs & { ship: ShipTask };
  writer: RotatingWriter;
  write(text: string): void;
  warnings: string[];
  /** Passes on; ends with `end`, or at once with `stop`. */
  ship(): { done: Promise<void>; end: () => void; stop: () => void };
}

function setUp(
  driver: string,
  options: Record<string, string>,
  directory = mkdtempSync(join(root, "x")),
): Shipped {
  const info: ContainerInfo = {
    id: ID,
    name: "web",
    imageId: "sha256:abc",
    imageName: "image",
    path: "/bin/x",
    args: ["y"],
    created: "2026-01-02T03:04:05Z",
    env: ["A=1"],
    labels: { l: "2" },
    logPath: "",
  };
  const logs = containerLogs(driver, options, info, directory) as ContainerLogs & { ship: ShipTask };
  const writer = new RotatingWriter(logs.log);
  const warnings: string[] = [];
  return {
    logs,
    writer,
    warnings,
    write: (text) => writer.write({ text, stream: "stdout", time: BigInt(Date.now()) * 1_000_000n }),
    ship: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const controller = new AbortController();
      const control = {
        ended: promise,
        signal: controller.signal,
        warn: (text: string) => void warnings.push(text),
      };
      return { done: shipLog(logs.ship, control), end: resolve, stop: () => controller.abort() };
    },
  };
}

/** Everything three lines become, and where they go. */
async function passOn(shipped: Shipped, lines = ["one", "two", "three"]): Promise<void> {
  const under = shipped.ship();
  for (const line of lines) shipped.write(line);
  under.end();
  await under.done;
}

const syslogTexts = (bytes: Buffer) =>
  bytes
    .toString()
    .split("\n")
    .filter(Boolean)
    .map((line) => line.replace(/^.*?\]: /, ""));

test("syslog over udp", async () => {
  await using server = await datagramServer();
  await passOn(setUp("syslog", { "syslog-address": `udp://127.0.0.1:${server.port}`, tag: "{{.Name}}" }));
  await eventually(() => assert.deepEqual(syslogTexts(server.bytes()), ["one", "two", "three"]));
  assert.match(String(server.received[0]), /^<30>\w{3} [ \d]\d \d\d:\d\d:\d\d web\[\d+\]: one\n$/);
});

test("syslog over tcp and unix streams", async () => {
  await using server = await streamServer();
  await passOn(
    setUp("syslog", { "syslog-address": `tcp://127.0.0.1:${server.port}`, "syslog-facility": "local0" }),
  );
  await eventually(() => assert.deepEqual(syslogTexts(server.bytes()), ["one", "two", "three"]));
  assert.match(server.bytes().toString(), /^<134>/);
  const path = join(root, "stream.sock");
  await using local = await streamServer({ path });
  await passOn(setUp("syslog", { "syslog-address": `unix://${path}`, "syslog-format": "rfc3164" }));
  await eventually(() => assert.equal(local.bytes().toString().split("\n").length, 4));
});

test("syslog over tls, with the certificate's own authority", async () => {
  const key = join(root, "key.pem");
  const cert = join(root, "cert.pem");
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", ...subject];
  execFileSync("openssl", [...request, "-keyout", key, "-out", cert], { stdio: "ignore" });
  const tls = { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
  await using server = await streamServer({ tls });
  const options = { "syslog-address": `tcp+tls://localhost:${server.port}`, "syslog-format": "rfc5424" };
  await passOn(setUp("syslog", { ...options, "syslog-tls-ca-cert": cert }));
  await eventually(() =>
    assert.match(server.bytes().toString(), /^\d+ <30>1 \S+Z \S+ 0123456789ab \d+ 0123456789ab - one\n/),
  );
  const untrusted = setUp("syslog", options);
  const under = untrusted.ship();
  untrusted.write("secret");
  await eventually(() => assert.match(untrusted.warnings.join(), /self-signed certificate/));
  under.stop();
  await under.done;
  assert.ok(!server.bytes().includes("secret"));
});

/** A bound datagram socket and what comes in. */
function unixReceiver(path: string) {
  const fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  bind(fd, encodeUnixAddress(path));
  const room = Buffer.alloc(1 << 18);
  return {
    next(): string | undefined {
      try {
        return room.toString("utf8", 0, recv(fd, room, MSG_DONTWAIT));
      } catch {
        return undefined;
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}

test("syslog over unix datagrams, and a queue that is full for a while", async () => {
  const path = join(root, "gram.sock");
  using receiver = unixReceiver(path);
  const lines = Array.from({ length: 500 }, (_, n) => `line ${n}`);
  const passing = passOn(setUp("syslog", { "syslog-address": `unixgram://${path}` }), lines);
  const got: string[] = [];
  await eventually(() => {
    for (let message = receiver.next(); message !== undefined; message = receiver.next()) got.push(message);
    assert.equal(got.length, lines.length);
  });
  await passing;
  assert.deepEqual(syslogTexts(Buffer.from(got.join(""))), lines);
});

test("journald's own protocol", async () => {
  const path = join(root, "journal.sock");
  using receiver = unixReceiver(path);
  const shipped = setUp("journald", { env: "A", tag: "{{.Name}}" });
  Object.assign(shipped.logs.ship.sink, { socket: path });
  await passOn(shipped, ["hello"]);
  const message = receiver.next() ?? "";
  for (const field of [
    "MESSAGE=hello",
    "PRIORITY=6",
    "CONTAINER_NAME=web",
    `CONTAINER_ID=${ID.slice(0, 12)}`,
    `CONTAINER_ID_FULL=${ID}`,
    "CONTAINER_TAG=web",
    "SYSLOG_IDENTIFIER=web",
    "IMAGE_NAME=image",
    "A=1",
  ])
    assert.ok(message.split("\n").includes(field), field);
});

test("gelf over udp and tcp", async () => {
  await using udp = await datagramServer();
  await passOn(setUp("gelf", { "gelf-address": `udp://127.0.0.1:${udp.port}`, labels: "l" }), ["hello"]);
  await eventually(() => assert.equal(udp.received.length, 1));
  const message = JSON.parse(gunzipSync(udp.received[0] ?? Buffer.alloc(0)).toString());
  assert.deepEqual(
    [
      message.version,
      message.short_message,
      message._container_id,
      message._container_name,
      message._command,
      message._l,
    ],
    ["1.1", "hello", ID, "web", "/bin/x y", "2"],
  );
  await using tcp = await streamServer();
  await passOn(setUp("gelf", { "gelf-address": `tcp://127.0.0.1:${tcp.port}` }));
  await eventually(() => {
    const messages = tcp.bytes().toString().split("\0").filter(Boolean);
    assert.deepEqual(
      messages.map((text) => JSON.parse(text).short_message),
      ["one", "two", "three"],
    );
  });
});

interface Forwarded {
  tag: string;
  entries: [unknown, Record<string, string>][];
  chunk: string | undefined;
}

function forwarded(bytes: Buffer): Forwarded[] {
  return [...decodeMulti(bytes)].map((value) => {
    const [tag, entries, options] = value as [string, Forwarded["entries"], { chunk?: string }];
    return { tag, entries, chunk: options.chunk };
  });
}

test("fluentd over tcp and unix", async () => {
  const path = join(root, "fluent.sock");
  for (const where of [{}, { path }]) {
    await using server = await streamServer(where);
    const address = "path" in where ? `unix://${path}` : `127.0.0.1:${server.port}`;
    await passOn(setUp("fluentd", { "fluentd-address": address, tag: "docker.{{.Name}}", env: "A" }));
    await eventually(() => {
      const messages = forwarded(server.bytes());
      assert.deepEqual(
        messages.flatMap(({ entries }) => entries.map(([, record]) => record.log)),
        ["one", "two", "three"],
      );
      assert.equal(messages[0]?.tag, "docker.web");
      const [, first] = messages[0]?.entries[0] ?? [];
      assert.deepEqual(first, {
        container_id: ID,
        container_name: "/web",
        source: "stdout",
        log: "one",
        A: "1",
      });
    });
  }
});

test("fluentd with acknowledgements: what was not acknowledged comes again", async () => {
  let connections = 0;
  await using server = await streamServer({
    onConnection: (connection) => {
      connections++;
      if (connections === 1) connection.once("data", () => connection.destroy());
      else
        connection.on("data", (chunk) => {
          const [{ chunk: id } = { chunk: undefined }] = forwarded(chunk);
          connection.write(encode({ ack: id }));
        });
    },
  });
  const shipped = setUp("fluentd", {
    "fluentd-address": `127.0.0.1:${server.port}`,
    "fluentd-request-ack": "true",
  });
  await passOn(shipped, ["hello"]);
  const logs = forwarded(server.bytes()).flatMap(({ entries }) => entries.map(([, record]) => record.log));
  assert.deepEqual(logs, ["hello", "hello"]);
  assert.match(shipped.warnings.join("\n"), /can't be delivered now.*\nlog output is delivered again/);
});

test("fluentd's own bounds: so many attempts and no more, so much that waits and no more", async () => {
  const port = await freePorts();
  const address = { "fluentd-address": `127.0.0.1:${port}`, "fluentd-retry-wait": "10ms" };
  const few = setUp("fluentd", { ...address, "fluentd-max-retries": "2" });
  const under = few.ship();
  few.write("lost");
  await eventually(() => assert.match(few.warnings.join("\n"), /1 log events were dropped after 3 attempts/));
  await using server = await streamServer({ port });
  few.write("kept");
  under.end();
  await under.done;
  const told = () =>
    forwarded(server.bytes()).flatMap(({ entries }) => entries.map(([, record]) => record.log));
  await eventually(() => assert.deepEqual(told(), ["kept"]));

  const bounded = { ...address, "fluentd-buffer-limit": "10k" };
  assert.equal(setUp("fluentd", { ...bounded, "fluentd-async": "true" }).logs.ship.buffer, 10 * 1024);
  // Where the container is what waits, nothing is to be lost.
  assert.equal(setUp("fluentd", bounded).logs.ship.buffer, undefined);
});

test("splunk: batches by POST, again after an answer that is none, never again what is malformed", async () => {
  await using server = await httpServer((n) => [503, 200, 400, 200][n] ?? 200);
  const shipped = setUp("splunk", {
    "splunk-url": `http://127.0.0.1:${server.port}`,
    "splunk-token": "secret",
    "splunk-gzip": "true",
    "splunk-index": "main",
  });
  shipped.write("one");
  const under = shipped.ship();
  await eventually(() => assert.equal(server.requests.length, 2));
  shipped.write("refused");
  await eventually(() => assert.equal(server.requests.length, 3));
  shipped.write("two");
  under.end();
  await under.done;
  const lines = server.requests.map(({ body }) => JSON.parse(gunzipSync(body).toString()).event.line);
  assert.deepEqual(lines, ["one", "one", "refused", "two"]);
  const [first] = server.requests;
  assert.deepEqual(
    [first?.method, first?.path, first?.headers.authorization],
    ["POST", "/services/collector/event/1.0", "Splunk secret"],
  );
});

test("nothing is lost or doubled by a worker that is stopped anywhere, files that are rotated, and a server that comes late", async () => {
  const port = await freePorts();
  const directory = mkdtempSync(join(root, "x"));
  const options = {
    "syslog-address": `tcp://127.0.0.1:${port}`,
    "cache-max-size": "1k",
    "cache-max-file": "3",
  };
  const shipped = setUp("syslog", options, directory);
  const lines: string[] = [];
  const write = async (count: number) => {
    for (let n = 0; n < count; n++) {
      lines.push(`line ${lines.length}`);
      shipped.write(lines.at(-1) ?? "");
      if (lines.length % 50 === 0) await shipped.writer.rotate();
    }
  };
  // Nobody listens: everything is kept, however much.
  const early = shipped.ship();
  await write(600);
  early.stop();
  await early.done;
  assert.ok(readdirSync(directory).filter((name) => name.startsWith("container-cached.log")).length > 10);
  await using server = await streamServer({ port });
  for (let round = 0; round < 6; round++) {
    const under = shipped.ship();
    await write(170);
    await eventually(() => assert.ok(server.bytes().length > 0));
    under.stop();
    await under.done;
    await write(40);
  }
  const last = shipped.ship();
  last.end();
  await last.done;
  await eventually(() => assert.deepEqual(syslogTexts(server.bytes()), lines));
  // Of what has been passed on, only as much is kept as was asked for.
  const kept = readdirSync(directory).filter((name) => /^container-cached\.log/.test(name));
  assert.deepEqual(kept.sort(), [
    "container-cached.log",
    "container-cached.log.1.gz",
    "container-cached.log.2.gz",
  ]);
});

test("docker logs reads what is kept of a driver that passes everything on; with the cache off nothing is", async () => {
  await using server = await datagramServer();
  const address = { "gelf-address": `udp://127.0.0.1:${server.port}` };
  const shipped = setUp("gelf", address);
  await passOn(shipped);
  const options = {
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
  let text = "";
  const source = { ...shipped.logs.log, ended: Promise.resolve() };
  for await (const piece of readLog(source, options, new AbortController().signal)) text += piece;
  assert.equal(text, "one\ntwo\nthree\n");
  const uncached = setUp("gelf", { ...address, "cache-disabled": "true" });
  assert.equal(uncached.logs.readable, false);
  const under = uncached.ship();
  for (const line of ["a", "b", "c"]) {
    uncached.write(line);
    await uncached.writer.rotate();
  }
  under.end();
  await under.done;
  assert.deepEqual(readdirSync(uncached.logs.log.directory).sort(), [
    "container-cached.log",
    "container-cached.position",
  ]);
});

test("where it cannot be begun, nothing stays open", async () => {
  const shipped = setUp("gelf", { "gelf-address": "udp://127.0.0.1:9" });
  const { log, ship } = shipped.logs;
  shipped.write("hello");
  mkdirSync(ship.position);
  await assert.rejects(shipped.ship().done, { code: "EISDIR" });
  const open = execFileSync("ls", ["-l", `/proc/${process.pid}/fd`], { encoding: "utf8" });
  assert.ok(!open.includes(log.directory), open);
});

test("non-blocking: the oldest goes where a destination takes nothing, and it is told how much", async () => {
  const port = await freePorts();
  const options = {
    "gelf-address": `tcp://127.0.0.1:${port}`,
    mode: "non-blocking",
    "max-buffer-size": "10k",
  };
  const shipped = setUp("gelf", options);
  const under = shipped.ship();
  for (let n = 0; n < 5000; n++) shipped.write(`line ${n}`);
  // Position moves on without anything being delivered.
  await eventually(() =>
    assert.ok(Number(readFileSync(shipped.logs.ship.position, "utf8").split(" ")[1]) > 100_000),
  );
  await using server = await streamServer({ port });
  under.end();
  await under.done;
  await eventually(() => {
    const messages = server.bytes().toString().split("\0").filter(Boolean);
    assert.equal(JSON.parse(messages.at(-1) ?? "{}").short_message, "line 4999");
    assert.ok(messages.length < 1500);
  });
  assert.match(shipped.warnings.join("\n"), /\d+ log events were dropped/);
});
