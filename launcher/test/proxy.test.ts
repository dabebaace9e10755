/**
 * The port proxy by itself: real sockets, real traffic, and a proxy that dies or is left by its daemon. IPv4 loopback
 * stands for both families; IPv6 where the machine has it.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash, randomBytes, randomInt } from "node:crypto";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { silentLogger } from "#errors/logger-types.ts";
import { FileDescriptor } from "#kernel/fd.ts";
import { encodeInternetAddress } from "#kernel/nonblocking-sockets.ts";
import { AF_INET, bind, getsockname, socket as makeSocket, SOCK_STREAM } from "#kernel/socket-syscalls.ts";
import { isErrno } from "#kernel/syscall-error.ts";
import { openServedPort } from "#networks/ports/port-reservation.ts";
import { PortProxy } from "#networks/proxy/port-proxy.ts";
import { decodeAddress, decodeOrder, encodeOrder, ORDER, PROXY_SLOTS } from "#networks/proxy/proxy-orders.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const directory = mkdtempSync(join(tmpdir(), "berth-proxy-"));
const launcherPath = join(directory, "launcher");
let socketPath = "";
let count = 0;

before(() => {
  execFileSync("sh", [join(import.meta.dirname, "../build.sh"), directory], {
    stdio: ["ignore", "inherit", "inherit"],
  });
});
after(() => rmSync(directory, { recursive: true, force: true }));

/** A proxy of its own, by a name of its own; it ends when it holds nothing and the test's side is closed. */
function newProxy(patience?: number): PortProxy {
  socketPath = join(directory, `${++count}.sock`);
  return again(patience);
}

function again(patience?: number): PortProxy {
  const parts = { launcherPath, socketPath, logger: silentLogger };
  return new PortProxy(patience === undefined ? parts : { ...parts, patience });
}

/** The process that answers at the newest name. */
function proxyPid(): number | undefined {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .find((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[2] === socketPath;
      } catch {
        return false;
      }
    });
}

/** The proxy is there; the kernel takes connections before. */
async function ready(proxy: PortProxy): Promise<void> {
  await eventually(() => assert.ok(existsSync(socketPath)));
  await proxy.adopt();
}

function publish(proxy: PortProxy, protocol: "tcp" | "udp", target: number, address = "127.0.0.1") {
  const to = { protocol, address, port: target };
  const { socket, port } = openQuietPort(protocol, address);
  return { port, slot: proxy.serve(address, port, to, () => socket) };
}

/**
 * A port that nobody else gets the moment it is given back: below those the kernel gives out on its own, and those of
 * free-ports.ts.
 */
function openQuietPort(protocol: "tcp" | "udp", address: string): { socket: FileDescriptor; port: number } {
  for (;;) {
    const port = randomInt(10_000, 20_000);
    try {
      return { socket: openServedPort(protocol, address, port), port };
    } catch (error) {
      if (!isErrno(error, "EADDRINUSE")) throw error;
    }
  }
}

async function serverOf(
  handler: (socket: Socket) => void,
  options = {},
): Promise<{ server: Server; port: number }> {
  const server = createServer(options, handler);
  server.unref();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return { server, port: address.port };
}

function dial(port: number, allowHalfOpen = false): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen }, () => resolve(socket));
    socket.on("error", reject);
  });
}

async function read(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function echo(): Promise<number> {
  return (await serverOf((socket) => void socket.pipe(socket).on("error", () => {}))).port;
}

async function udpEcho(
  reply: (message: Buffer) => string | Buffer,
): Promise<{ port: number; server: UdpSocket }> {
  const server = createSocket("udp4");
  server.unref();
  server.on("message", (message, from) => server.send(reply(message), from.port, from.address));
  await new Promise<void>((resolve) => server.bind(0, "127.0.0.1", resolve));
  return { server, port: server.address().port };
}

/** Asks again until there is an answer: a datagram may be lost. */
function ask(socket: UdpSocket, port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const send = () => socket.send(text, port, "127.0.0.1");
    const again = setInterval(send, 2000);
    socket.once("message", (message) => {
      clearInterval(again);
      resolve(message.toString());
    });
    send();
  });
}

describe("connections through the port proxy", () => {
  it("say their ends separately", async () => {
    const target = await serverOf(
      (socket) => void read(socket).then((bytes) => socket.end(`heard ${bytes.length}`)),
      { allowHalfOpen: true },
    );
    const proxy = newProxy();
    const { port } = publish(proxy, "tcp", target.port);
    const socket = await dial(port, true);
    socket.end("0123456789");
    assert.equal((await read(socket)).toString(), "heard 10");
    proxy.close();
  });

  it("carry everything, both ways at once, however slow who reads is", async () => {
    const proxy = newProxy();
    const { port } = publish(proxy, "tcp", await echo());
    const data = randomBytes(24 << 20);
    const socket = await dial(port, true);
    socket.end(data);
    const hash = createHash("sha256");
    let length = 0;
    for await (const chunk of socket) {
      hash.update(chunk);
      length += chunk.length;
      // Now and then nobody reads for a while: what is under way must wait.
      if (length % 7 === 0) await sleep(1);
    }
    assert.equal(length, data.length);
    assert.equal(hash.digest("hex"), createHash("sha256").update(data).digest("hex"));
    proxy.close();
  });

  it("end when the target does not want them", async () => {
    // Bound, so that nobody else comes to listen there, and does not listen itself.
    using bound = new FileDescriptor(makeSocket(AF_INET, SOCK_STREAM, 0));
    bind(bound.number, encodeInternetAddress("127.0.0.1", 0));
    const gone = decodeAddress(getsockname(bound.number))?.port ?? 0;
    const proxy = newProxy();
    const { port } = publish(proxy, "tcp", gone);
    const socket = await dial(port);
    socket.on("error", () => {});
    await new Promise((resolve) => socket.on("close", resolve).resume());
    proxy.close();
  });

  it("are many, and leave nothing behind", async () => {
    const proxy = newProxy();
    const { port, slot } = publish(proxy, "tcp", await echo());
    const first = await dial(port);
    await ready(proxy);
    const descriptors = () => readdirSync(`/proc/${proxyPid()}/fd`).length;
    for (let round = 0; round < 10; round++) {
      const sockets = await Promise.all(Array.from({ length: 200 }, () => dial(port)));
      const answers = sockets.map((socket, n) => {
        socket.end(`connection ${n}`);
        return read(socket);
      });
      const texts = (await Promise.all(answers)).map(String);
      assert.deepEqual(
        texts,
        Array.from({ length: 200 }, (_, n) => `connection ${n}`),
      );
    }
    first.destroy();
    // Its own few, the port, and pipes it keeps for the next.
    await eventually(() => assert.ok(descriptors() < 60, `${descriptors()} descriptors`));
    proxy.end(slot);
    await proxy.settled();
    proxy.close();
  });

  it("end with their port", async () => {
    const proxy = newProxy();
    const { port, slot } = publish(proxy, "tcp", await echo());
    const socket = await dial(port);
    socket.on("error", () => {});
    socket.write("x");
    await new Promise((resolve) => socket.once("data", resolve));
    const closed = new Promise((resolve) => socket.on("close", resolve));
    proxy.end(slot);
    await proxy.settled();
    await closed;
    // Free for whoever wants it now, at once.
    openServedPort("tcp", "127.0.0.1", port).close();
    proxy.close();
  });
});

describe("many ports at once", () => {
  it("are given and taken back by the same proxy", async () => {
    const target = await echo();
    const proxy = newProxy();
    const ports = Array.from({ length: 600 }, () => publish(proxy, "tcp", target));
    await ready(proxy);
    const pid = proxyPid();
    for (const { port } of ports.filter((_, n) => n % 100 === 99)) {
      const socket = await dial(port);
      socket.end("x");
      assert.equal((await read(socket)).toString(), "x");
    }
    const [kept, ...rest] = ports;
    for (const { slot } of rest) proxy.end(slot);
    await proxy.settled();
    assert.equal(proxyPid(), pid);
    for (const { port } of rest) openServedPort("tcp", "127.0.0.1", port).close();
    const socket = await dial(kept?.port ?? 0);
    socket.end("y");
    assert.equal((await read(socket)).toString(), "y");
    proxy.close();
  });
});

describe("datagrams through the port proxy", () => {
  it("find back to each client", async () => {
    const { port: target } = await udpEcho((message) => `answer to ${message}`);
    const proxy = newProxy();
    const { port, slot } = publish(proxy, "udp", target);
    const clients = [createSocket("udp4"), createSocket("udp4")] as const;
    const answers = await Promise.all([ask(clients[0], port, "one"), ask(clients[1], port, "two")]);
    assert.deepEqual(answers, ["answer to one", "answer to two"]);
    for (const client of clients) client.close();
    proxy.end(slot);
    await proxy.settled();
    openServedPort("udp", "127.0.0.1", port).close();
    proxy.close();
  });

  it("of any size that there is", async () => {
    const { port: target } = await udpEcho((message) => createHash("sha256").update(message).digest("hex"));
    const proxy = newProxy();
    const { port } = publish(proxy, "udp", target);
    const client = createSocket("udp4");
    const large = randomBytes(65_507)
      .toString("latin1")
      .replace(/[^ -~]/g, "x");
    assert.equal(await ask(client, port, large), createHash("sha256").update(large).digest("hex"));
    client.close();
    proxy.close();
  });

  it("of a client silent for long are forgotten, and begin anew", async () => {
    const { port: target, server } = await udpEcho((message) => message);
    const sources = new Set<number>();
    server.on("message", (_, from) => sources.add(from.port));
    const proxy = newProxy(1);
    const { port } = publish(proxy, "udp", target);
    const client = createSocket("udp4");
    for (let round = 0; sources.size < 2 && round < 20; round++) {
      // Of what was asked twice the second answer may come a round late.
      assert.match(await ask(client, port, `round ${round}`), /^round \d+$/);
      await sleep(1300);
    }
    assert.equal(sources.size, 2);
    client.close();
    proxy.close();
  });
});

describe("the proxy's process", () => {
  it("is started again when it dies, and no port is lost", async () => {
    const proxy = newProxy();
    const { port } = publish(proxy, "tcp", await echo());
    await ready(proxy);
    const former = proxyPid() ?? 0;
    process.kill(former, "SIGKILL");
    // The kernel takes connections meanwhile.
    const socket = await dial(port);
    socket.end("still there");
    assert.equal((await read(socket)).toString(), "still there");
    assert.notEqual(proxyPid(), former);
    proxy.close();
  });

  it("hangs up on who sends anything but orders, and serves on", async () => {
    const proxy = newProxy();
    const { port } = publish(proxy, "tcp", await echo());
    await ready(proxy);
    const outside = encodeOrder(ORDER.remove, PROXY_SLOTS);
    const withoutSocket = encodeOrder(ORDER.add, 7, { protocol: "tcp", address: "::1", port: 1 });
    for (const bytes of [randomBytes(20), randomBytes(47), outside, Buffer.alloc(48, 0xff)]) {
      const control = connect({ path: socketPath });
      control.on("error", () => {});
      control.write(bytes);
      await new Promise((resolve) => control.on("close", resolve).resume());
    }
    const control = connect({ path: socketPath });
    control.write(withoutSocket);
    const answer = await new Promise<Buffer>((resolve) => control.once("data", resolve));
    assert.deepEqual([decodeOrder(answer).slot, decodeOrder(answer).status], [7, 9 /* EBADF */]);
    control.destroy();
    const socket = await dial(port);
    socket.end("served");
    assert.equal((await read(socket)).toString(), "served");
    proxy.close();
  });

  it("goes on without its daemon, and the next one finds all it has", async () => {
    const target = await echo();
    const first = newProxy();
    const kept = publish(first, "tcp", target);
    const stale = publish(first, "tcp", target);
    const moved = publish(first, "tcp", 1);
    const socket = await dial(kept.port);
    socket.write("a");
    await new Promise((resolve) => socket.once("data", resolve));
    first.close();
    const second = again();
    await second.adopt();
    const unexpected = () => assert.fail("the socket should have been found");
    second.serve("127.0.0.1", kept.port, { protocol: "tcp", address: "127.0.0.1", port: target }, unexpected);
    second.serve(
      "127.0.0.1",
      moved.port,
      { protocol: "tcp", address: "127.0.0.1", port: target },
      unexpected,
    );
    second.forgetUnclaimed();
    await second.settled();
    openServedPort("tcp", "127.0.0.1", stale.port).close();
    // The connection from before, and new ones: also to the port that leads elsewhere now.
    socket.end("b");
    assert.equal((await read(socket)).toString(), "b");
    for (const port of [kept.port, moved.port]) {
      const other = await dial(port);
      other.end("c");
      assert.equal((await read(other)).toString(), "c");
    }
    second.close();
  });

  it("ends with its last port when no daemon is there, and when its name is gone", async () => {
    const proxy = newProxy();
    const { slot } = publish(proxy, "tcp", 1);
    const path = socketPath;
    await ready(proxy);
    proxy.end(slot);
    await proxy.settled();
    assert.notEqual(proxyPid(), undefined);
    proxy.close();
    await eventually(() => assert.ok(proxyPid() === undefined));
    assert.equal(existsSync(path), false);
    const other = newProxy();
    publish(other, "tcp", 1);
    await ready(other);
    other.close();
    assert.notEqual(proxyPid(), undefined);
    rmSync(socketPath);
    await eventually(() => assert.ok(proxyPid() === undefined));
  });
});
