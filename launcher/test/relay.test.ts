/** The relay without a terminal: log, attach, stdin, control connections, the end. */
import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import type { Socket } from "node:net";
import { after, before, test } from "node:test";
import { readProcessStatus } from "#kernel/process-status.ts";
import { encodeFrame, FrameParser, type ShimFrame } from "#program/frames.ts";
import type { ShimHandle } from "#program/launcher-client.types.ts";
import { connectUnix } from "#program/unix-connect.ts";
import {
  ALL,
  collect,
  createFixture,
  demultiplex,
  type Fixture,
  OUTPUT,
  type ProcessOptions,
  processProgram,
  until,
} from "./fixture.ts";

let fixture: Fixture;
before(async () => {
  fixture = await createFixture();
});
after(() => fixture[Symbol.dispose]());

let serial = 0;

interface Run {
  shim: ShimHandle;
  socket: string;
  exitFile: string;
  log: string;
  /** Entries of the log, parsed. */
  entries(): { log: string; stream: string; time: string }[];
}

function start(script: string, options: Partial<ProcessOptions> = {}): Run {
  const directory = fixture.path(`run${serial++}`);
  mkdirSync(directory);
  const log = `${directory}/log`;
  const program = processProgram({ argv: ["/bin/sh", "-c", script], directory, log, ...options });
  const socket = `${directory}/shim.sock`;
  return {
    shim: fixture.client.launch(program, socket),
    socket,
    exitFile: `${directory}/exit`,
    log,
    entries: () => parseLog(readFileSync(options.log ?? log, "utf8")),
  };
}

function parseLog(text: string): { log: string; stream: string; time: string }[] {
  assert.ok(text === "" || text.endsWith("\n"), "the log ends in the middle of an entry");
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line));
}

async function attach(run: Run, streams = ALL): Promise<Socket> {
  await run.shim.listening;
  return fixture.client.attach(run.socket, streams);
}

/** A control connection and what comes over it until it ends. */
function control(path: string): { socket: Socket; frames: Promise<ShimFrame[]> } {
  const socket = connectUnix(path);
  socket.write(new Uint8Array([67, 0, 0, 0, 0, 0, 0, 0]));
  return { socket, frames: collect(socket).then((bytes) => new FrameParser().push(bytes)) };
}

test("output reaches the log, one entry a line, each with stream and time", async () => {
  const before = Date.now();
  const run = start("echo one; echo two; echo three >&2");
  assert.equal((await run.shim.exited).exitCode, 0);
  const entries = run.entries();
  assert.deepEqual(
    entries.filter(({ stream }) => stream === "stdout").map(({ log }) => log),
    ["one\n", "two\n"],
  );
  assert.deepEqual(
    entries.filter(({ stream }) => stream === "stderr").map(({ log }) => log),
    ["three\n"],
  );
  for (const { time } of entries) {
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
    assert.ok(Date.parse(time) >= before - 1 && Date.parse(time) <= Date.now() + 1, time);
  }
});

test("the order of fields is Docker's, with attributes before the closing brace", async () => {
  const run = start("echo x", { logAttrs: ',"attrs":{"a":"b"}' });
  await run.shim.exited;
  assert.match(
    readFileSync(run.log, "utf8"),
    /^\{"log":"x\\n","stream":"stdout","time":"[^"]+","attrs":\{"a":"b"\}\}\n$/,
  );
});

test("text is escaped as Docker's writer does it", async () => {
  const path = fixture.path("escapes");
  const pieces: [bytes: number[] | string, escaped: string][] = [
    ['"quoted" back\\slash', '\\"quoted\\" back\\\\slash'],
    ["tab\tbell\x07nul\0del\x7f cr\r", "tab\\u0009bell\\u0007nul\\u0000del\x7f cr\\r"],
    ["<a href='x'>&amp;", "\\u003ca href='x'\\u003e\\u0026amp;"],
    ["line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"],
    ["é € 𝄞 \u2027\u202a", "é € 𝄞 \u2027\u202a"],
    [[0x61, 0xff, 0x62], "a\\ufffdb"],
    [[0xc0, 0xaf], "\\ufffd\\ufffd"], // overlong
    [[0xed, 0xa0, 0x80], "\\ufffd\\ufffd\\ufffd"], // surrogate
    [[0xf4, 0x90, 0x80, 0x80], "\\ufffd\\ufffd\\ufffd\\ufffd"], // above U+10FFFF
    [[0xe2, 0x82], "\\ufffd\\ufffd"], // cut off
    [[0xe2, 0x82, 0x41], "\\ufffd\\ufffdA"],
    ["", ""],
  ];
  writeFileSync(
    path,
    Buffer.concat(pieces.map(([bytes]) => Buffer.concat([Buffer.from(bytes as string), Buffer.from("\n")]))),
  );
  const run = start(`cat ${path}`);
  await run.shim.exited;
  const lines = readFileSync(run.log, "utf8").trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => /^\{"log":"(.*)\\n","stream"/.exec(line)?.[1]),
    pieces.map(([, escaped]) => escaped),
  );
  // And what valid text there was comes back whole.
  assert.equal(run.entries()[4]?.log, "é € 𝄞 \u2027\u202a\n");
});

test("a last line without newline is logged without one", async () => {
  const run = start("printf 'no end'; printf 'nor here' >&2");
  await run.shim.exited;
  assert.deepEqual(
    run
      .entries()
      .map(({ log }) => log)
      .sort(),
    ["no end", "nor here"],
  );
});

test("a long line is cut at 16 KiB, between characters, and adds up", async () => {
  const path = fixture.path("long");
  // "€" has three bytes: no multiple of it is 16384.
  const line = "€".repeat(20_000);
  writeFileSync(path, `${line}\n${"x".repeat(16384)}\n${"y".repeat(16383)}\n`);
  const run = start(`cat ${path}`);
  await run.shim.exited;
  const logs = run.entries().map(({ log }) => log);
  assert.equal(logs.join(""), readFileSync(path, "utf8"));
  for (const log of logs.slice(0, -1)) {
    assert.ok(!log.includes("\ufffd"));
    assert.ok(Buffer.byteLength(log) <= 16384);
  }
  assert.equal(Buffer.byteLength(logs[0] ?? ""), 16383);
  assert.ok(logs.includes("x".repeat(16384)));
  assert.ok(logs.includes(`${"y".repeat(16383)}\n`));
});

test("a line that comes in pieces is one entry, and attached clients see the pieces at once", async () => {
  const run = start("printf abc; read x; printf 'def\\n'", { stdin: true, expectedAttaches: 1 });
  const client = await attach(run);
  const [first] = (await new Promise((resolve) => client.once("data", (data) => resolve([data])))) as [
    Buffer,
  ];
  assert.equal(first.subarray(8).toString(), "abc");
  client.write("\n");
  await run.shim.exited;
  client.destroy();
  assert.deepEqual(
    run.entries().map(({ log }) => log),
    ["abcdef\n"],
  );
});

test("a raw log holds the bytes", async () => {
  const run = start("printf 'a\\nb'; printf c", { logRaw: true });
  await run.shim.exited;
  assert.equal(readFileSync(run.log, "utf8"), "a\nbc");
});

test("no log at all", async () => {
  const directory = fixture.path("nolog");
  mkdirSync(directory);
  const program = processProgram({ argv: ["/bin/echo", "x"], directory, expectedAttaches: 1 });
  const shim = fixture.client.launch(program, `${directory}/shim.sock`);
  await shim.listening;
  const output = collect(await fixture.client.attach(`${directory}/shim.sock`, OUTPUT));
  assert.equal((await shim.exited).exitCode, 0);
  assert.equal(demultiplex(await output).stdout, "x\n");
});

test("a process that ends at once leaves all its output, in the log and with the clients", async () => {
  for (let round = 0; round < 20; round++) {
    // More than one chunk, less than the pipe holds: it has ended before the first byte is read.
    const run = start("head -c 60000 /dev/zero | tr '\\0' x; echo; echo e >&2", { expectedAttaches: 1 });
    const output = collect(await attach(run, OUTPUT));
    assert.equal((await run.shim.exited).exitCode, 0);
    const text = `${"x".repeat(60000)}\n`;
    assert.deepEqual(demultiplex(await output), { stdout: text, stderr: "e\n" });
    assert.equal(
      run
        .entries()
        .filter(({ stream }) => stream === "stdout")
        .map(({ log }) => log)
        .join(""),
      text,
    );
  }
});

test("output and end wait for the expected attaches", async () => {
  const run = start("echo early", { expectedAttaches: 2 });
  await run.shim.started;
  const first = collect(await attach(run));
  assert.equal(await settledWithin(run.shim.exited, 100), false);
  assert.equal(readFileSync(run.log, "utf8"), "");
  const second = collect(await attach(run));
  await run.shim.exited;
  assert.equal(demultiplex(await first).stdout, "early\n");
  assert.equal(demultiplex(await second).stdout, "early\n");
});

async function settledWithin(promise: Promise<unknown>, milliseconds: number): Promise<boolean> {
  const timer = new Promise<boolean>((resolve) => setTimeout(resolve, milliseconds, false));
  return Promise.race([promise.then(() => true), timer]);
}

test("expected attaches that never come are given up with the launch connection", async () => {
  const run = start("echo anyway", { expectedAttaches: 1 });
  await run.shim.started;
  run.shim.close();
  await until("there is an exit record", () => existsSync(run.exitFile));
  assert.deepEqual(
    run.entries().map(({ log }) => log),
    ["anyway\n"],
  );
});

test("stdin that only an attach to come would have ended ends with the launch connection, with STDIN_ONCE", async () => {
  const run = start("cat; echo ended", { stdin: true, stdinOnce: true, expectedAttaches: 1 });
  await run.shim.started;
  run.shim.close();
  await until("there is an exit record", () => existsSync(run.exitFile));
  assert.deepEqual(
    run.entries().map(({ log }) => log),
    ["ended\n"],
  );
});

test("an attach that was begun before the launch connection closed keeps all its input", async () => {
  const run = start("cat", { stdin: true, stdinOnce: true, expectedAttaches: 1 });
  const shim = readProcessStatus(await run.shim.started)?.parentPid ?? 0;
  assert.ok(shim > 1);
  // It finds all of this at once, and the launch connection first.
  process.kill(shim, "SIGSTOP");
  try {
    const client = await attach(run);
    await new Promise<void>((resolve) => client.write("said in time\n", () => resolve()));
    client.destroy();
    run.shim.close();
  } finally {
    process.kill(shim, "SIGCONT");
  }
  await until("there is an exit record", () => existsSync(run.exitFile));
  assert.deepEqual(
    run.entries().map(({ log }) => log),
    ["said in time\n"],
  );
});

test("without STDIN_ONCE stdin stays open for whoever attaches later", async () => {
  const run = start("cat", { stdin: true, expectedAttaches: 1 });
  await run.shim.started;
  run.shim.close();
  const client = await fixture.client.attach(run.socket, ALL);
  client.write("later\n");
  await until("it is logged", () => readFileSync(run.log, "utf8").includes("later"));
  const again = control(run.socket);
  again.socket.write(encodeFrame({ kind: "close-stdin" }));
  await until("there is an exit record", () => existsSync(run.exitFile));
  client.destroy();
  await again.frames;
});

test("attach connections choose their streams", async () => {
  const run = start("echo out; echo err >&2", { expectedAttaches: 3 });
  const [out, err, none] = await Promise.all(
    [
      { stdin: false, stdout: true, stderr: false },
      { stdin: false, stdout: false, stderr: true },
      { stdin: true, stdout: false, stderr: false },
    ].map(async (streams) => collect(await attach(run, streams))),
  );
  await run.shim.exited;
  assert.deepEqual(demultiplex(out ?? Buffer.of()), { stdout: "out\n", stderr: "" });
  assert.deepEqual(demultiplex(err ?? Buffer.of()), { stdout: "", stderr: "err\n" });
  assert.deepEqual(none?.length, 0);
});

test("stdin: every byte arrives, and the client's half-close is the end with STDIN_ONCE", async () => {
  const run = start("wc -c", { stdin: true, stdinOnce: true, expectedAttaches: 1 });
  const client = await attach(run);
  const output = collect(client);
  client.end(Buffer.alloc(3_000_000, "x"));
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.equal(demultiplex(await output).stdout, "3000000\n");
});

test("stdin survives a client without STDIN_ONCE, and is closed by a control frame", async () => {
  const run = start("cat; echo end", { stdin: true, expectedAttaches: 1 });
  const first = await attach(run);
  const firstOutput = collect(first);
  first.end("first\n");
  await until("the first line is logged", () => readFileSync(run.log, "utf8").includes("first"));
  const second = await attach(run);
  second.write("second\n");
  await until("the second line is logged", () => readFileSync(run.log, "utf8").includes("second"));
  run.shim.closeStdin();
  await run.shim.exited;
  second.destroy();
  assert.deepEqual(
    run.entries().map(({ log }) => log),
    ["first\n", "second\n", "end\n"],
  );
  assert.equal(demultiplex(await firstOutput).stdout, "first\nsecond\nend\n");
});

test("a descriptor of who is connected is kept under the number that was said, and under no other", async () => {
  const run = start("read line", { stdin: true });
  const pid = await run.shim.started;
  const kept = fixture.path("kept");
  const fd = openSync(kept, "w");
  run.shim.keep(fd, 203);
  run.shim.keep(fd, 3);
  run.shim.keep(1_000_000, 204);
  const shim = readProcessStatus(pid)?.parentPid;
  const link = (number: number) => readlinkSync(`/proc/${shim}/fd/${number}`);
  await until("it keeps it", () => existsSync(`/proc/${shim}/fd/203`));
  closeSync(fd);
  assert.equal(link(203), kept);
  assert.notEqual(link(3), kept);
  assert.throws(() => link(204));
  run.shim.closeStdin();
  await run.shim.exited;
});

test("input of a client that went away at once still arrives", async () => {
  const run = start("sleep 0.1; cat", { stdin: true, stdinOnce: true, expectedAttaches: 1 });
  const client = await attach(run);
  // More than the pipe and the relay's buffer hold, so that part of it is still in the socket when the client is gone.
  const text = `${"z".repeat(79)}\n`.repeat(2000);
  await new Promise<void>((resolve) => client.write(text, () => resolve()));
  client.destroy();
  await run.shim.exited;
  assert.equal(
    run
      .entries()
      .map(({ log }) => log)
      .join(""),
    text,
  );
});

test("input nobody reads any more is thrown away", async () => {
  const run = start("exec 0<&-; read x < /dev/null; echo closed; sleep 0.2; echo late", {
    stdin: true,
    expectedAttaches: 1,
  });
  const client = await attach(run);
  const output = collect(client);
  client.write(Buffer.alloc(500_000, "q"));
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.equal(demultiplex(await output).stdout, "closed\nlate\n");
});

test("without stdin, attach input is discarded", async () => {
  const run = start("cat; sleep 0.1; echo done", { expectedAttaches: 1 });
  const client = await attach(run);
  const output = collect(client);
  client.write(Buffer.alloc(300_000));
  await run.shim.exited;
  assert.equal(demultiplex(await output).stdout, "done\n");
});

test("back-pressure: a client that does not read holds the container up, and loses nothing", async () => {
  const run = start(
    "for i in 1 2 3 4 5 6 7 8 9 10; do head -c 100000 /dev/zero | tr '\\0' y; done; echo > $PWD/done",
    {
      expectedAttaches: 1,
      argv: [
        "/bin/sh",
        "-c",
        `cd ${fixture.directory}; head -c 2000000 /dev/zero | tr '\\0' y; echo > written`,
      ],
    },
  );
  const client = await attach(run, OUTPUT);
  client.pause();
  assert.equal(await settledWithin(run.shim.exited, 300), false);
  assert.ok(!existsSync(fixture.path("written")), "the container was not held up");
  const output = await collect(client);
  await run.shim.exited;
  assert.equal(demultiplex(output).stdout.length, 2_000_000);
  assert.equal(
    run
      .entries()
      .map(({ log }) => log)
      .join("").length,
    2_000_000,
  );
});

test("a slow client does not hold up the exit, and gets the rest after it", async () => {
  // Everything is full when the writer is killed: the socket, the chunk in flight, and the pipe.
  const full = fixture.path("full");
  const run = start(
    `yes & writer=$!; while [ ! -e ${full} ]; do sleep 0.02; done; sleep 0.3; kill -9 $writer; wait`,
    { expectedAttaches: 1 },
  );
  const client = await attach(run, OUTPUT);
  client.pause();
  // An entry of 72 bytes stands for a line of two.
  await until("much is logged", () => existsSync(run.log) && statSync(run.log).size > 4_000_000);
  writeFileSync(full, "");
  assert.equal((await run.shim.exited).exitCode, 0);
  const logged = run
    .entries()
    .map(({ log }) => log)
    .join("");
  assert.ok(logged.length > 100_000);
  assert.equal(demultiplex(await collect(client)).stdout, logged);
});

test("a client that vanishes holds up nobody", async () => {
  const run = start("head -c 3000000 /dev/zero | tr '\\0' v; echo", { expectedAttaches: 2 });
  const gone = await attach(run, OUTPUT);
  const stays = await attach(run, OUTPUT);
  gone.pause();
  const output = collect(stays);
  await new Promise((resolve) => setTimeout(resolve, 50));
  gone.destroy();
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.equal(demultiplex(await output).stdout.length, 3_000_001);
});

test("a container that closes its output lives on", async () => {
  const go = fixture.path("end-it");
  const run = start(`exec >&- 2>&-; while [ ! -e ${go} ]; do sleep 0.02; done; exit 4`);
  await run.shim.started;
  assert.equal(await settledWithin(run.shim.exited, 100), false);
  writeFileSync(go, "");
  assert.equal((await run.shim.exited).exitCode, 4);
});

test("output of what the main process leaves behind is waited for, but not with CLOSE_ON_EXIT", async () => {
  const gate = fixture.path("late");
  const patient = start(`(while [ ! -e ${gate} ]; do sleep 0.02; done; echo late) & echo early`);
  const pid = await patient.shim.started;
  await until("the main process is gone", () => !existsSync(`/proc/${pid}`));
  writeFileSync(gate, "");
  await patient.shim.exited;
  assert.deepEqual(
    patient.entries().map(({ log }) => log),
    ["early\n", "late\n"],
  );
  // Longer than the main process can take to end.
  const hasty = start("(sleep 10; echo late) & echo early", { closeOnExit: true });
  await hasty.shim.exited;
  assert.deepEqual(
    hasty.entries().map(({ log }) => log),
    ["early\n"],
  );
});

test("exit codes, signals, and the record", async () => {
  const before = BigInt(Date.now()) * 1_000_000n;
  const run = start("exit 42");
  const exit = await run.shim.exited;
  assert.deepEqual([exit.exitCode, exit.signal], [42, undefined]);
  assert.ok(exit.at >= before - 1_000_000n && exit.at <= BigInt(Date.now() + 1) * 1_000_000n);
  assert.equal(
    readFileSync(run.exitFile, "utf8"),
    `${42 << 8} ${exit.at / 1_000_000_000n} ${exit.at % 1_000_000_000n}\n`,
  );
  assert.ok(!existsSync(`${run.exitFile}.tmp`));
  await until("the control socket is gone", () => !existsSync(run.socket));
  const killed = start("kill -TERM $$");
  assert.deepEqual((({ exitCode, signal }) => [exitCode, signal])(await killed.shim.exited), [143, 15]);
});

test("signals by control frame reach the main process", async () => {
  const run = start("trap 'exit 9' USR1; echo ready; while :; do sleep 0.01; done");
  await until("the trap is set", () => existsSync(run.log) && readFileSync(run.log, "utf8") !== "");
  run.shim.signal(10);
  assert.equal((await run.shim.exited).exitCode, 9);
});

test("orphans are reaped, and the main process is not mistaken for one of them", async () => {
  // One that has just ended is a zombie for a moment; what is not reaped stays one.
  const zombies = "ps -o stat= --ppid $PPID | grep -c Z";
  const run = start(
    `(sh -c 'sleep 0.05 & sleep 0.05 &' &) ; sleep 0.4; i=0
    while [ $(${zombies}) != 0 ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done; ${zombies}; exit 3`,
  );
  assert.equal((await run.shim.exited).exitCode, 3);
  assert.deepEqual(
    run.entries().map(({ log }) => log),
    ["0\n"],
  );
});

test("a new control connection is told how things stand, and of the exit", async () => {
  const run = start("read x; exit 6", { stdin: true });
  const pid = await run.shim.started;
  const other = control(run.socket);
  await new Promise((resolve) => other.socket.once("data", resolve));
  run.shim.closeStdin();
  const frames = await other.frames;
  assert.deepEqual(frames.slice(0, 2), [
    { kind: "note", note: 2, value: BigInt(pid) },
    { kind: "note", note: 3, value: BigInt(pid) },
  ]);
  assert.equal(frames[2]?.kind, "exit");
  assert.equal((await run.shim.exited).exitCode, 6);
});

test("the daemon goes and comes back: the container doesn't notice", async () => {
  const run = start("echo a; while [ ! -e ../go ]; do sleep 0.01; done; echo b; exit 8", {
    argv: [
      "/bin/sh",
      "-c",
      `echo a; while [ ! -e ${fixture.path("go")} ]; do sleep 0.01; done; echo b; exit 8`,
    ],
  });
  const pid = await run.shim.started;
  run.shim.close();
  const again = await fixture.client.reconnect(run.socket, run.exitFile);
  assert.equal(await again.started, pid);
  writeFileSync(fixture.path("go"), "");
  assert.equal((await again.exited).exitCode, 8);
  assert.deepEqual(
    run.entries().map(({ log }) => log),
    ["a\n", "b\n"],
  );
  // And once more, when all is over.
  await until("the control socket is gone", () => !existsSync(run.socket));
  const late = await fixture.client.reconnect(run.socket, run.exitFile);
  assert.equal((await late.exited).exitCode, 8);
  await assert.rejects(late.started, { code: "unavailable" });
  const never = await fixture.client.reconnect(fixture.path("no.sock"), fixture.path("no-exit"));
  assert.equal((await never.exited).exitCode, 137);
});

test("control frames may come in pieces", async () => {
  const run = start("trap 'exit 11' USR2; echo ready; while :; do sleep 0.01; done");
  await until("the trap is set", () => existsSync(run.log) && readFileSync(run.log, "utf8") !== "");
  const socket = connectUnix(run.socket);
  const bytes = Buffer.concat([Buffer.from("C\0\0\0\0\0\0\0"), encodeFrame({ kind: "signal", signal: 12 })]);
  for (const byte of bytes) {
    await new Promise<void>((resolve) => socket.write(Buffer.of(byte), () => resolve()));
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal((await run.shim.exited).exitCode, 11);
  socket.destroy();
});

test("garbage costs its sender the connection, and nobody else anything", async () => {
  const run = start("read x; echo $x", { stdin: true });
  await run.shim.started;
  const hello = Buffer.from("C\0\0\0\0\0\0\0");
  const garbage = [
    Buffer.from("GET / HTTP/1.1\r\n\r\n"),
    Buffer.from("A\xff\0\0\0\0\0\0", "latin1"),
    Buffer.from("C\0\0\x01\0\0\0\0", "latin1"),
    Buffer.concat([hello, Buffer.alloc(64, 0xff)]),
    Buffer.concat([hello, Buffer.of(99, 0, 0, 0, 0, 0, 0, 0)]),
    Buffer.concat([hello, Buffer.of(16, 0, 0, 0, 2, 0, 0, 0, 1, 2)]),
  ];
  for (const bytes of garbage) {
    const socket = connectUnix(run.socket);
    socket.on("error", () => undefined);
    socket.write(bytes);
    socket.resume();
    // The shim ends it from its side.
    await new Promise((resolve) => socket.once("end", resolve).once("close", resolve));
    socket.destroy();
  }
  const client = await attach(run);
  const output = collect(client);
  client.write("still here\n");
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.equal(demultiplex(await output).stdout, "still here\n");
});

test("sixteen connections, and the seventeenth is turned away", async () => {
  const run = start("read x; echo all", { stdin: true });
  await run.shim.started;
  const clients: Socket[] = [];
  for (let i = 0; i < 16; i++) clients.push(await attach(run));
  // They are accepted in order, so when the last one is turned away the others have been taken.
  const extra = connectUnix(run.socket);
  let received = 0;
  extra.on("data", (data) => (received += data.length));
  await new Promise((resolve) => extra.once("close", resolve));
  assert.equal(received, 0);
  const outputs = clients.map(collect);
  clients[0]?.write("\n");
  await run.shim.exited;
  for (const output of outputs) assert.equal(demultiplex(await output).stdout, "all\n");
});

test("a full disk costs log entries, whole ones, and nothing else", async () => {
  const run = start(
    "for i in 1 2 3; do echo line $i; done; head -c 50000 /dev/zero | tr '\\0' n; echo; echo last",
    {
      expectedAttaches: 1,
      log: "/dev/full",
    },
  );
  const output = collect(await attach(run, OUTPUT));
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.match(demultiplex(await output).stdout, /^line 1\nline 2\nline 3\nn{50000}\nlast\n$/);
});

test("a disk that fills up in the middle of an entry leaves whole ones, and is used again when there is room", async () => {
  // "&" becomes six bytes: entries from less than the relay's buffer to several times as much.
  for (const [limit, length] of [
    [1_000, 10],
    [5_003, 700],
    [30_000, 3_000],
    [250_000, 16_000],
    [98_050, 16_300],
  ] as const) {
    const line = "&".repeat(length);
    const script = `for i in 1 2 3 4 5 6 7 8 9 10; do echo '${line}'; done; read x; echo mark; read x; echo again`;
    const run = start(script, { logLimit: limit, stdin: true, expectedAttaches: 1 });
    const client = await attach(run);
    let seen = "";
    client.on("data", (data) => {
      seen += data;
    });
    // A chunk is logged before the next one is read, so with the mark here all before it has been tried.
    await until("all lines are there", () => seen.split("&\n").length > 10);
    client.write("\n");
    await until("the mark is there", () => seen.includes("mark\n"));
    const { size } = statSync(run.log);
    assert.ok(size > 0 && size <= limit);
    const texts = run.entries().map(({ log }) => log);
    assert.ok(texts.length >= 1 && texts.length < 11);
    for (const text of texts) assert.ok(text === `${line}\n` || text === "mark\n");
    truncateSync(run.log);
    client.write("\n");
    assert.equal((await run.shim.exited).exitCode, 0);
    assert.equal(run.entries().at(-1)?.log, "again\n");
  }
});

test("somebody who writes for ever after the end of the main process keeps nobody from anything", async () => {
  const run = start("yes & echo $! > ../yes.pid; exit 0", {
    argv: ["/bin/sh", "-c", `yes & echo $! > ${fixture.path("yes.pid")}`],
  });
  await until("it writes", () => existsSync(run.log) && readFileSync(run.log).length > 100_000);
  // A new connection is answered all the same.
  const { socket, frames } = control(run.socket);
  const [first] = (await new Promise((resolve) => socket.once("data", (data) => resolve([data])))) as [
    Buffer,
  ];
  assert.equal(first.readUInt32LE(0), 3);
  // It writes before the shell has told its number, and 0 would be this test's own group.
  const yes = fixture.path("yes.pid");
  await until("its number is there", () => existsSync(yes) && /^\d+\n$/.test(readFileSync(yes, "utf8")));
  process.kill(Number(fixture.read("yes.pid")), "SIGKILL");
  assert.equal((await run.shim.exited).exitCode, 0);
  assert.equal((await frames).at(-1)?.kind, "exit");
});
