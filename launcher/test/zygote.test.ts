/** The zygote: one of it, on a private socket, surviving those it serves; and how programs get in. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { after, before, test } from "node:test";
import { FrameParser } from "#program/frames.ts";
import { createLauncherClient } from "#program/launcher-client.ts";
import { createProgramBuilder } from "#program/program-builder.ts";
import { connectUnix } from "#program/unix-connect.ts";
import { createFixture, exchange, type Fixture, notesOf, processProgram, until } from "./fixture.ts";

let fixture: Fixture;
before(async () => {
  fixture = await createFixture();
});
after(() => fixture[Symbol.dispose]());

/** Pids whose executable is this fixture's launcher, and whose name is still the zygote's. */
function zygotePids(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const ours = readlinkSync(`/proc/${pid}/exe`) === fixture.launcherPath;
        return ours && readFileSync(`/proc/${pid}/comm`, "utf8") === "berth-zygote\n";
      } catch {
        return false; // it ended, or was never ours to look at
      }
    });
}

/** All its descriptors are closed: it is a zombie, or not even that. */
function hasEnded(pid: number): boolean {
  try {
    return /^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return true;
  }
}

function noteProgram(value: number) {
  const b = createProgramBuilder();
  b.notify(10, value);
  return b.finish();
}

test("one that does not answer is given up on, and does not run what it is found to hold later", async () => {
  const path = fixture.path("stopped.sock");
  const options = { launcherPath: fixture.launcherPath, socketPath: path };
  const client = createLauncherClient({ ...options, answerWithin: 300 });
  const before = new Set(zygotePids());
  await client.ensureZygote();
  const [pid = 0] = zygotePids().filter((one) => !before.has(one));
  // Signals to 0 go to this process's own group.
  assert.ok(pid > 1);
  const touch = (name: string) => {
    mkdirSync(fixture.path(name));
    const made = processProgram({
      argv: ["/bin/touch", fixture.path(`${name}-ran`)],
      directory: fixture.path(name),
    });
    return client.launch(made, join(fixture.path(name), "shim.sock"));
  };
  process.kill(pid, "SIGSTOP");
  try {
    const stuck = touch("stuck");
    await assert.rejects(stuck.started, {
      code: "unavailable",
      message: "the launcher has not answered for 0.3 s",
    });
    await assert.rejects(stuck.exited, { code: "unavailable" });
  } finally {
    process.kill(pid, "SIGCONT");
  }
  // It serves in order: when the next one has run, the one before would have.
  const patient = createLauncherClient(options);
  mkdirSync(fixture.path("next"));
  const argv = ["/bin/touch", fixture.path("next-ran")];
  const next = patient.launch(
    processProgram({ argv, directory: fixture.path("next") }),
    fixture.path("next/shim.sock"),
  );
  await next.exited;
  assert.ok(existsSync(fixture.path("next-ran")));
  assert.ok(!existsSync(fixture.path("stuck-ran")) && !existsSync(fixture.path("stuck/shim.sock")));
  rmSync(path);
  await until("it has gone", () => hasEnded(pid));
});

test("a shim that does not answer keeps nobody waiting who finds it again", async () => {
  const directory = fixture.path("quiet");
  mkdirSync(directory);
  const options = { launcherPath: fixture.launcherPath, socketPath: fixture.socketPath };
  const control = join(directory, "shim.sock");
  const program = processProgram({ argv: ["/bin/sleep", "1000"], directory });
  const first = createLauncherClient(options).launch(program, control);
  const pid = await first.started;
  const parent = Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
  process.kill(parent, "SIGSTOP");
  const again = await createLauncherClient({ ...options, answerWithin: 200 }).reconnect(
    control,
    join(directory, "exit"),
  );
  await assert.rejects(again.started, { message: "the shim has not answered for 0.2 s" });
  // When it goes on, its end is still told.
  process.kill(parent, "SIGCONT");
  again.signal(9);
  assert.equal((await again.exited).exitCode, 137);
});

test("the socket is the owner's alone", () => {
  assert.equal(statSync(fixture.socketPath).mode & 0o777, 0o600);
});

test("the zygote is in a session of its own, holds its socket and no other descriptor of ours", () => {
  const [pid] = zygotePids();
  const session = readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[5];
  assert.equal(session, String(pid));
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) =>
    readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/\[.*\]/, ""),
  );
  assert.deepEqual(links.sort(), ["/dev/null", "/dev/null", "/dev/null", "anon_inode:inotify", "socket:"]);
  assert.equal(readFileSync(`/proc/${pid}/environ`, "utf8"), "");
});

test("however many start at once, there is one", async () => {
  const directory = fixture.path("race");
  mkdirSync(directory);
  const before = zygotePids().length;
  const options = { launcherPath: fixture.launcherPath, socketPath: join(directory, "launcher.sock") };
  const clients = Array.from({ length: 8 }, () => createLauncherClient(options));
  await Promise.all(clients.map((client) => client.ensureZygote()));
  // Those that came second looked whether one answers, for which it forked.
  await until("there is one more", () => zygotePids().length === before + 1);
  rmSync(directory, { recursive: true });
  await until("the zygote without a socket is gone", () => zygotePids().length === before);
});

test("a socket that was left behind is replaced, one that is in use by something else isn't", async () => {
  const directory = fixture.path("stale");
  mkdirSync(directory);
  const socketPath = join(directory, "launcher.sock");
  const client = createLauncherClient({ launcherPath: fixture.launcherPath, socketPath });
  const others = zygotePids();
  await client.ensureZygote();
  const [first = 0] = zygotePids().filter((pid) => !others.includes(pid));
  assert.ok(first > 1);
  process.kill(first, "SIGKILL");
  await until("it is dead", () => hasEnded(first));
  assert.ok(existsSync(socketPath));
  // A launch notices by itself.
  const b = createProgramBuilder();
  b.notify(3, 4321);
  assert.equal(await client.launch(b.finish(), join(directory, "shim.sock")).started, 4321);
  await until("there is one more", () => zygotePids().length === others.length + 1);
  rmSync(directory, { recursive: true });

  mkdirSync(directory);
  writeFileSync(socketPath, "not a socket");
  await assert.rejects(client.ensureZygote(), { code: "unavailable", message: /does not start/ });
  assert.equal(readFileSync(socketPath, "utf8"), "not a socket");
  rmSync(socketPath);
  const server = createServer((socket) => socket.destroy()).listen(socketPath);
  await new Promise((resolve) => server.once("listening", resolve));
  await client.ensureZygote();
  server.close();
});

test("errors of starting are told", async () => {
  const missing = createLauncherClient({
    launcherPath: "/nonexistent/launcher",
    socketPath: fixture.path("x.sock"),
  });
  await assert.rejects(missing.ensureZygote(), { code: "unavailable" });
  const shim = missing.launch(noteProgram(1), fixture.path("nothing.sock"));
  await assert.rejects(shim.started, { code: "unavailable" });
  await assert.rejects(shim.exited, { code: "unavailable" });
  const nowhere = createLauncherClient({
    launcherPath: fixture.launcherPath,
    socketPath: "/nonexistent/dir/x.sock",
  });
  await assert.rejects(nowhere.ensureZygote(), { message: /no such directory/ });
});

test("a path longer than a socket address", async () => {
  const directory = join(fixture.directory, "d".repeat(90), "e".repeat(60));
  mkdirSync(directory, { recursive: true });
  const client = createLauncherClient({
    launcherPath: fixture.launcherPath,
    socketPath: join(directory, "launcher.sock"),
  });
  await client.ensureZygote();
  const b = createProgramBuilder();
  b.notify(3, 77);
  assert.equal(await client.launch(b.finish(), "/nonexistent").started, 77);
  await until("there are two", () => zygotePids().length === 2);
  rmSync(directory, { recursive: true });
  await until("its zygote is gone", () => zygotePids().length === 1);
});

test("a client that sends its program slowly holds up nobody", async () => {
  const { bytes } = noteProgram(5);
  const slow = connectUnix(fixture.socketPath);
  slow.write(bytes.subarray(0, 100));
  assert.deepEqual([...(await notesOf(fixture, noteProgram(6)))], [[10, 6n]]);
  const frames: unknown[] = [];
  const parser = new FrameParser();
  slow.on("data", (data) => frames.push(...parser.push(data)));
  slow.write(bytes.subarray(100));
  await new Promise((resolve) => slow.once("close", resolve));
  assert.deepEqual(frames, [{ kind: "note", note: 10, value: 5n }]);
});

test("shims leave no zombies, and nothing is left of those that were only looked at", async () => {
  for (let i = 0; i < 20; i++) await notesOf(fixture, noteProgram(i));
  const probe = connectUnix(fixture.socketPath);
  probe.end();
  probe.resume();
  await new Promise((resolve) => probe.once("close", resolve));
  const [zygote] = zygotePids();
  await until("the zygote has no children", () => {
    return readFileSync(`/proc/${zygote}/task/${zygote}/children`, "utf8").trim() === "";
  });
});

test("malformed programs are refused with errno and offset", async () => {
  const good = Buffer.from(noteProgram(1).bytes);
  const changed = (offset: number, value: number) => {
    const bytes = Buffer.from(good);
    bytes.writeUInt32LE(value, offset);
    return bytes;
  };
  const cases: [what: string, bytes: Buffer, errno: number, offset: number][] = [
    ["magic", changed(0, 0x12345678), 22, 0],
    ["version", changed(4, 2), 93, 4],
    ["too long", changed(8, 0x7fffffff), 7, 8],
    ["length doesn't add up", changed(8, good.length + 8), 22, 8],
    ["no instructions", changed(12, 0), 22, 12],
    ["too many relocations", changed(16, 0xffffffff), 22, 8],
    ["data larger than the message", changed(20, 0xfffffff0), 22, 8],
    ["too much scratch", changed(24, 0xffffffff), 7, 24],
    ["no registers", changed(28, 0), 22, 28],
    ["too many registers", changed(28, 257), 22, 28],
    ["a header field from the future", changed(40, 1), 22, 40],
    ["operation 0", changed(64, 0), 22, 64],
    ["unknown operation", changed(64, 200), 22, 64],
    ["destination", changed(64, 13 | (9 << 8)), 22, 65],
    ["kind of an argument", changed(72, 9), 22, 72],
    ["unknown flag", Buffer.from(good.fill(0x80, 79, 80)), 22, 78],
  ];
  good.fill(0, 79, 80);
  for (const [what, bytes, errno, offset] of cases) {
    assert.deepEqual(await exchange(fixture, bytes), [{ kind: "refused", errno, offset }], what);
  }
  assert.deepEqual(await exchange(fixture, good.subarray(0, good.length - 3)), [
    { kind: "refused", errno: 32, offset: good.length },
  ]);
  // And the client says it in words.
  const shim = fixture.client.launch({ ...noteProgram(1), bytes: changed(4, 2) }, fixture.path("x"));
  await assert.rejects(shim.started, {
    code: "internal",
    message: /refused the program at byte 4: EPROTONOSUPPORT/,
  });
});

test("a failed start is a LaunchError, for every promise", async () => {
  const b = createProgramBuilder();
  b.sys("openat", [-100, b.cstr("/nonexistent"), 0, 0], { why: "open the root" });
  const shim = fixture.client.launch(b.finish(), fixture.path("x"));
  const expected = {
    name: "LaunchError",
    code: "start-failed",
    errno: 2,
    errnoName: "ENOENT",
    instruction: 0,
    label: "open the root",
    message: "open the root: ENOENT (no such file or directory)",
  };
  await assert.rejects(shim.started, expected);
  await assert.rejects(shim.listening, expected);
  await assert.rejects(shim.exited, expected);
});

test("a shim that is killed is a process that ended with 137", async () => {
  const directory = fixture.path("killed");
  mkdirSync(directory);
  const program = processProgram({ argv: ["/bin/sleep", "30"], directory });
  const shim = fixture.client.launch(program, `${directory}/shim.sock`);
  const pid = await shim.started;
  const parent = Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[3]);
  process.kill(parent, "SIGKILL");
  assert.equal((await shim.exited).exitCode, 137);
  process.kill(pid, "SIGKILL");
});

test("a live shim is small, and called what it is", async (t) => {
  const directory = fixture.path("small");
  mkdirSync(directory);
  const program = processProgram({ argv: ["/bin/cat"], directory, stdin: true, log: `${directory}/log` });
  const shim = fixture.client.launch(program, `${directory}/shim.sock`);
  const pid = await shim.started;
  const parent = Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(" ")[3]);
  assert.equal(readFileSync(`/proc/${parent}/comm`, "utf8"), "berth-shim\n");
  const rollup = readFileSync(`/proc/${parent}/smaps_rollup`, "utf8");
  const pss = Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1]);
  t.diagnostic(`PSS of a shim: ${pss} KB`);
  assert.ok(pss <= 64, `PSS is ${pss} KB`);
  shim.closeStdin();
  await shim.exited;
});

test("`run` takes its program from an inherited socket", async () => {
  const child: ChildProcess = spawn(fixture.launcherPath, ["run", "3"], {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
  });
  const socket = child.stdio[3] as Duplex;
  const frames: unknown[] = [];
  const parser = new FrameParser();
  socket.on("data", (data: Buffer) => frames.push(...parser.push(data)));
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const b = createProgramBuilder();
  b.notify(11, 12);
  b.exit(3);
  socket.write(b.finish().bytes);
  assert.equal(await ended, 3);
  assert.deepEqual(frames, [{ kind: "note", note: 11, value: 12n }]);
});

test("`version` is the version of the format", () => {
  assert.equal(execFileSync(fixture.launcherPath, ["version"], { encoding: "utf8" }), "1\n");
});
