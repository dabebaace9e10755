/**
 * Clients that ask for much and read nothing: whoever reads gets everything meanwhile, containers go on, and the daemon's
 * memory stays what it was. What attached clients do not take holds up their container, as in Docker: that is how they lose
 * nothing.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { TestDaemon } from "#test/fixtures/daemon.ts";
import { eventually } from "#test/fixtures/eventually.ts";

const IMAGE = "berth/busybox";
const MIB = 1 << 20;
/** Far more than all buffers on the way hold together. */
const OUTPUT = 24 * MIB;
const LINE = 1024;
/** What the daemon may grow by; twenty readers' output is several times as much. */
const GROWTH_MIB = 128;
let daemon: TestDaemon;
before(async () => {
  daemon = await TestDaemon.start({ subnet: 42 });
  daemon.loadBusybox();
  // The parts of it that are loaded and compiled at their first use are nobody's client's.
  daemon.ok("run", "--rm", IMAGE, "true");
});
after(() => daemon.stop());

const residentMiB = () => {
  const text = readFileSync(`/proc/${daemon.pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+)/m.exec(text)?.[1]) / 1024;
};

/** A shell's words for so many bytes in whole lines; it begins when it is told to. */
const printing = (bytes: number) =>
  `while [ ! -e /go ]; do sleep 0.05; done; yes ${"x".repeat(LINE - 1)} | head -c ${bytes}`;
const go = (name: string) => daemon.ok("exec", name, "touch", "/go");

function printer(name: string, bytes = OUTPUT): string {
  return daemon.ok("run", "-d", "--name", name, IMAGE, "sh", "-c", printing(bytes));
}

const exitCode = (name: string) => daemon.dockerAsync("wait", name).then(({ stdout }) => stdout.trim());

/** A connection with one request on it. What comes is counted once it is read. */
class Client {
  readonly socket: Socket;
  bytes = 0;
  ended = false;

  constructor(method: string, path: string, headers = "", body = "") {
    this.socket = connect({ path: daemon.socket, allowHalfOpen: true });
    this.socket.on("error", () => {});
    this.socket.pause();
    const length = body === "" ? "" : `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`;
    this.socket.write(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}${length}\r\n${body}`,
    );
  }

  read(): this {
    this.socket.on("data", (chunk: Buffer) => {
      this.bytes += chunk.length;
    });
    this.socket.on("close", () => {
      this.ended = true;
    });
    this.socket.on("end", () => {
      this.ended = true;
      this.socket.end();
    });
    this.socket.resume();
    return this;
  }
}

const upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
/** With Docker's frames a line is eight bytes longer; a request's head comes on top. */
const framed = (bytes: number) => bytes + (bytes / LINE) * 8;

test("logs: those who don't read hold up neither the container nor those who do, and lose nothing", async () => {
  printer("logged");
  const follow = () => new Client("GET", "/containers/logged/logs?follow=1&stdout=1");
  const before = residentMiB();
  const slow = Array.from({ length: 20 }, follow);
  const ready = [follow().read(), follow().read()];
  go("logged");
  assert.equal(await exitCode("logged"), "0");
  await eventually(() => assert.ok(ready.every(({ ended, bytes }) => ended && bytes >= framed(OUTPUT))));
  const growth = residentMiB() - before;
  assert.ok(growth < GROWTH_MIB, `the daemon has grown by ${growth} MiB`);
  // Later is not too late.
  const [late] = slow;
  late?.read();
  await eventually(() => assert.ok(late?.ended && late.bytes >= framed(OUTPUT), `${late?.bytes} bytes`));
  for (const { socket } of slow) socket.destroy();
});

test("logs: two hundred followers of one container get all of it", async () => {
  const bytes = LINE * 512;
  printer("followed", bytes);
  const all = Array.from({ length: 200 }, () =>
    new Client("GET", "/containers/followed/logs?follow=1&stdout=1").read(),
  );
  go("followed");
  await eventually(() => {
    const short = all.filter((one) => !one.ended || one.bytes < framed(bytes));
    assert.equal(short.length, 0);
  });
});

test("attach: what is not taken holds up the container's output, nobody else, and is not lost", async () => {
  const id = printer("attached");
  const log = join(daemon.dataRoot, "containers", id, `${id}-json.log`);
  const slow = new Client("POST", "/containers/attached/attach?stream=1&stdout=1", upgrade);
  const quick = new Client("POST", "/containers/attached/attach?stream=1&stdout=1", upgrade).read();
  await eventually(() => assert.ok(quick.bytes > 0));
  const before = residentMiB();
  go("attached");
  await eventually(() => assert.ok(statSync(log).size > 0));
  const stopped = new Promise<void>((done) => {
    let last = -1;
    const look = setInterval(() => {
      if (statSync(log).size === last) {
        clearInterval(look);
        done();
      }
      last = statSync(log).size;
    }, 300);
  });
  await stopped;
  assert.ok(statSync(log).size < OUTPUT / 2, "its output has been read on");
  assert.equal(daemon.ok("inspect", "-f", "{{.State.Running}}", "attached"), "true");
  daemon.ok("exec", "attached", "true");
  const growth = residentMiB() - before;
  assert.ok(growth < GROWTH_MIB, `the daemon has grown by ${growth} MiB`);
  slow.read();
  assert.equal(await exitCode("attached"), "0");
  // Pieces of up to 16 KiB, each with a head of its own, and the answer's head.
  await eventually(() => assert.ok(slow.ended && quick.ended && Math.min(slow.bytes, quick.bytes) > OUTPUT));
});

test("attach: as many clients as there may be all have the output, and one more is refused by name", async () => {
  daemon.ok("create", "--name", "crowded", IMAGE, "sh", "-c", "echo hello; exec sleep 1000");
  const path = "/containers/crowded/attach?stream=1&stdout=1";
  const all = Array.from({ length: 15 }, () => new Client("POST", path, upgrade).read());
  const heads = () => all.map(({ bytes }) => bytes);
  await eventually(() => assert.ok(Math.min(...heads()) > 0));
  const answered = Math.max(...heads());
  const refused = () => daemon.api("POST", path);
  assert.equal((await refused()).status, 503);
  assert.match((await refused()).body, /has 15 attached clients already/);
  daemon.ok("start", "crowded");
  await eventually(() => assert.ok(Math.min(...heads()) > answered));
  assert.equal((await refused()).status, 503);
  // Who leaves makes room.
  all[0]?.socket.destroy();
  await eventually(async () => {
    const next = new Client("POST", path, upgrade);
    try {
      const [head] = (await once(next.socket.resume(), "data")) as [Buffer];
      assert.match(head.toString(), /^HTTP\/1\.1 101 /);
    } finally {
      next.socket.destroy();
    }
  });
  for (const { socket } of all) socket.destroy();
  daemon.ok("rm", "-f", "crowded");
});

test("attach: input that is not taken stays with the client", async () => {
  daemon.ok("run", "-d", "-i", "--name", "deaf", IMAGE, "sleep", "1000");
  const sender = new Client("POST", "/containers/deaf/attach?stream=1&stdin=1", upgrade).read();
  await eventually(() => assert.ok(sender.bytes > 0));
  const piece = Buffer.alloc(MIB);
  let taken = 0;
  // Until the socket takes no more; Node's own queue is this side's.
  while (taken < 64 && (sender.socket.write(piece) || (await drained(sender.socket)))) taken++;
  assert.ok(taken < 32, `${taken} MiB were taken`);
  sender.socket.destroy();
  daemon.ok("rm", "-f", "deaf");
});

function drained(socket: Socket): Promise<boolean> {
  return Promise.race([
    new Promise<boolean>((done) => socket.once("drain", () => done(true))),
    sleep(2000, false, { ref: false }),
  ]);
}

test("exec: one whose output is not taken stands still by itself", async () => {
  daemon.ok("run", "-d", "--name", "execs", IMAGE, "sleep", "1000");
  const body = { Cmd: ["sh", "-c", `yes | head -c ${OUTPUT}`], AttachStdout: true };
  const ids: string[] = [];
  for (let n = 0; n < 10; n++) {
    const made = await daemon.api("POST", "/containers/execs/exec", body);
    ids.push((JSON.parse(made.body) as { Id: string }).Id);
  }
  const before = residentMiB();
  const start = (id: string) =>
    new Client("POST", `/exec/${id}/start`, upgrade, '{"Detach":false,"Tty":false}');
  const [quick, ...slow] = ids.map(start);
  quick?.read();
  await eventually(() => assert.ok(quick?.ended && quick.bytes > OUTPUT));
  assert.equal(daemon.ok("exec", "execs", "echo", "well"), "well");
  const growth = residentMiB() - before;
  assert.ok(growth < GROWTH_MIB, `the daemon has grown by ${growth} MiB`);
  const shown = await daemon.api("GET", `/exec/${ids[1]}/json`);
  assert.equal((JSON.parse(shown.body) as { Running: boolean }).Running, true);
  for (const { socket } of slow) socket.destroy();
  // With the last reader gone nothing holds it: its output is thrown away.
  await eventually(async () => {
    const one = await daemon.api("GET", `/exec/${ids[1]}/json`);
    assert.equal((JSON.parse(one.body) as { Running: boolean }).Running, false);
  });
});

test("export and save: those who stand still make room for those who don't, and hold up nothing else", async () => {
  daemon.ok(
    "run",
    "-d",
    "--name",
    "large",
    IMAGE,
    "sh",
    "-c",
    "head -c 20000000 /dev/urandom > /data; sleep 1000",
  );
  await eventually(() => void daemon.ok("exec", "large", "sh", "-c", "[ $(stat -c %s /data) = 20000000 ]"));
  // More than may be under way at once.
  const slow = Array.from({ length: 20 }, () => new Client("GET", "/containers/large/export"));
  await sleep(500);
  assert.match(daemon.ok("diff", "large"), /^A \/data$/m);
  daemon.ok("commit", "large", "committed");
  const saved = new Client("GET", "/images/get?names=committed").read();
  await eventually(() => assert.ok(saved.ended && saved.bytes > 20_000_000));
  const quick = new Client("GET", "/containers/large/export").read();
  await eventually(() => assert.ok(quick.ended && quick.bytes > 20_000_000));
  for (const { socket } of slow) socket.destroy();
  daemon.ok("rm", "-f", "large");
});

test("load and cp: clients that have sent next to nothing hold nobody up, and take no thread", async () => {
  daemon.ok("create", "--name", "target", IMAGE, "true");
  const threads = () => readdirSync(`/proc/${daemon.pid}/task`).length;
  daemon.ok("cp", "/etc/hostname", "target:/before");
  const before = threads();
  // More than may be under way at once.
  const requests = ["POST /images/load", "PUT /containers/target/archive?path=/"];
  const slow = requests.flatMap((request) =>
    Array.from({ length: 40 }, () => {
      const client = connect(daemon.socket);
      client.on("error", () => {});
      client.write(`${request} HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n`);
      client.write(`Content-Length: ${MIB}\r\n\r\n`);
      return client;
    }),
  );
  const trickle = setInterval(() => {
    for (const client of slow) if (!client.destroyed) client.write("\0");
  }, 100);
  try {
    await sleep(500);
    daemon.ok("cp", "/etc/hostname", "target:/after");
    daemon.loadBusybox();
    const more = threads() - before;
    assert.ok(more < 16, `${more} threads more`);
  } finally {
    clearInterval(trickle);
    for (const client of slow) client.destroy();
  }
  daemon.ok("rm", "target");
});

test("progress: a load whose answer nobody reads is done all the same", async () => {
  daemon.ok("tag", IMAGE, "berth/again");
  const archive = join(daemon.directory, "again.tar");
  daemon.ok("save", "-o", archive, "berth/again");
  daemon.ok("rmi", "berth/again");
  const bytes = readFileSync(archive);
  const silent = connect(daemon.socket);
  silent.on("error", () => {});
  silent.pause();
  silent.write(`POST /images/load HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes.length}\r\n\r\n`);
  silent.write(bytes);
  await eventually(() => void daemon.ok("inspect", "berth/again"));
  silent.destroy();
});

test("an attach that ends before its WebSocket holds nothing up", async () => {
  printer("unopened");
  const { status } = await daemon.api("GET", "/containers/unopened/attach/ws?stream=1&stdout=1");
  assert.equal(status, 400);
  go("unopened");
  const state = () => daemon.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "unopened").trim();
  await eventually(() => assert.equal(state(), "exited 0"));
  const shimsLeft = daemon.ok("ps", "-q").split("\n").filter(Boolean).length;
  await eventually(() => assert.equal(daemon.shims().length, shimsLeft));
  daemon.ok("rm", "unopened");
});
