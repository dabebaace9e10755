/** Every operation of the launcher, as seen from outside: what registers hold is told by notes. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { createProgramBuilder } from "#program/program-builder.ts";
import type { DataRef, ProgramBuilder, Register } from "#program/types.ts";
import { close, createFixture, exchange, type Fixture, failureOf, notesOf, pipe } from "./fixture.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const NOTE = 10;

let fixture: Fixture;
before(async () => {
  fixture = await createFixture();
});
after(() => fixture[Symbol.dispose]());

/** Runs what `write` writes and answers the value it noted. */
async function noted(write: (b: ProgramBuilder) => void): Promise<bigint | undefined> {
  const b = createProgramBuilder();
  write(b);
  b.exit(0);
  return (await notesOf(fixture, b.finish())).get(NOTE);
}

async function failed(write: (b: ProgramBuilder) => void): Promise<{ label: string; errno: string }> {
  const b = createProgramBuilder();
  write(b);
  return failureOf(fixture, b.finish());
}

function readInto(b: ProgramBuilder, fd: Register, room: DataRef, into: Register): void {
  b.sys("read", [fd, room, room.length], { into, why: "read" });
}

test("SYS passes all kinds of arguments and keeps the result", async () => {
  writeFileSync(fixture.path("text"), "hello");
  const value = await noted((b) => {
    const fd = b.register("fd");
    const count = b.register("count");
    const room = b.scratch(16);
    b.sys("openat", [-100, b.cstr(fixture.path("text")), 0, 0], { into: fd, why: "open" });
    readInto(b, fd, room, count);
    b.notify(NOTE, count);
  });
  assert.equal(value, 5n);
});

test("SYS with the address of a register lets the kernel write a value back", async () => {
  const value = await noted((b) => {
    const offset = b.register("offset");
    const fd = b.register("fd");
    b.sys("memfd_create", [b.cstr("x"), 0], { into: fd, why: "memory file" });
    b.sys("write", [fd, b.cstr("123456"), 6], { full: true, why: "fill" });
    b.set(offset, 4, "offset");
    b.sys("sendfile", [fd, fd, b.addressOf(offset), 2], { why: "copy two bytes" });
    b.notify(NOTE, offset);
  });
  assert.equal(value, 6n);
});

test("a failing SYS is reported with its instruction and errno", async () => {
  const failure = await failed((b) => {
    b.set(b.register("x"), 1, "something before");
    b.sys("openat", [-100, b.cstr("/nonexistent/file"), 0, 0], { why: "open what isn't there" });
  });
  assert.deepEqual(failure, { label: "open what isn't there", errno: "ENOENT" });
});

test("an ignored errno goes into the register negated, another one fails", async () => {
  const open = (ignore: number) => (b: ProgramBuilder) => {
    const result = b.register("result");
    b.sys("openat", [-100, b.cstr("/nonexistent"), 0, 0], { into: result, ignore, why: "try to open" });
    b.notify(NOTE, result);
  };
  assert.equal(await noted(open(2)), -2n);
  assert.equal((await failed(open(13))).errno, "ENOENT");
});

test("FULL turns a short result into EIO", async () => {
  writeFileSync(fixture.path("three"), "abc");
  const failure = await failed((b) => {
    const fd = b.register("fd");
    b.sys("openat", [-100, b.cstr(fixture.path("three")), 0, 0], { into: fd, why: "open" });
    b.sys("read", [fd, b.scratch(8), 8], { full: true, why: "read eight bytes" });
  });
  assert.deepEqual(failure, { label: "read eight bytes", errno: "EIO" });
});

test("AGAIN asks until there is something to be had, but not for ever", async () => {
  const SIGALRM = 14n;
  // Each attempt waits, so that all of them take far longer than the timer, and the first one far less.
  const once = (microseconds: bigint) => (b: ProgramBuilder) => {
    const words = (...values: bigint[]) => b.bytes(new Uint8Array(new BigUint64Array(values).buffer), 8);
    const alarm = words(1n << (SIGALRM - 1n));
    b.sys("rt_sigprocmask", [0, alarm, 0, 8], { why: "put the alarm off" });
    b.sys("setitimer", [0, words(0n, 0n, 0n, microseconds), 0], { why: "set a timer" });
    b.sys("rt_sigtimedwait", [alarm, 0, words(0n, 200_000n), 8], { again: true, why: "wait for the alarm" });
    b.notify(NOTE, 1);
  };
  assert.equal(await noted(once(10_000n)), 1n);
  assert.deepEqual(await failed(once(0n)), { label: "wait for the alarm", errno: "EAGAIN" });
});

test("SET takes immediates of 64 bits, registers and addresses", async () => {
  assert.equal(await noted((b) => b.notify(NOTE, 0x7fff_ffff_ffff_ffffn)), 0x7fff_ffff_ffff_ffffn);
  const value = await noted((b) => {
    const first = b.register("first");
    const second = b.register("second");
    b.set(first, -5, "first");
    b.set(second, first, "second");
    b.notify(NOTE, second);
  });
  assert.equal(value, -5n);
});

test("LOAD and STORE of each width; four bytes carry their sign, fewer don't", async () => {
  for (const [width, expected] of [
    [1, 0xfen],
    [2, 0xfffen],
    [4, -2n],
    [8, -2n],
  ] as const) {
    const value = await noted((b) => {
      const from = b.register("from");
      const to = b.register("to");
      const room = b.scratch(8);
      b.set(from, -2, "value");
      b.store(from, room, width);
      b.load(to, room, width);
      b.notify(NOTE, to);
    });
    assert.equal(value, expected, `width ${width}`);
  }
});

test("FMTDEC writes digits, a sign and NUL, and tells how many", async () => {
  for (const value of [0n, 7n, 1234567890123n, -42n, 0x7fff_ffff_ffff_ffffn, -0x8000_0000_0000_0000n]) {
    const path = fixture.path("decimal");
    const length = await noted((b) => {
      const fd = b.register("fd");
      const number = b.register("number");
      const written = b.register("written");
      const room = b.scratch(21);
      b.set(number, value, "number");
      b.formatDecimal(number, room, written);
      b.sys("openat", [-100, b.cstr(path), 0o1101, 0o600], { into: fd, why: "open" });
      b.sys("write", [fd, room, value.toString().length + 1], { full: true, why: "write" });
      b.notify(NOTE, written);
    });
    assert.equal(readFileSync(path, "latin1"), `${value}\0`);
    assert.equal(Number(length), value.toString().length);
  }
});

test("FMTDEC does not overrun its room", async () => {
  const failure = await failed((b) => {
    const number = b.register("number");
    b.set(number, 1000, "number");
    b.formatDecimal(number, b.scratch(4));
  });
  assert.deepEqual(failure, { label: "write number in decimal", errno: "ERANGE" });
});

test("jumps", async () => {
  const value = await noted((b) => {
    const counter = b.register("counter");
    const sum = b.register("sum");
    const again = b.label("again");
    const done = b.label("done");
    const never = b.label("never");
    b.set(counter, -1, "counter");
    b.jumpIfNegative(counter, again);
    b.place(never);
    b.exit(1);
    b.place(again);
    b.set(counter, 0, "counter");
    b.jumpIfNotZero(counter, never);
    b.jumpIfNegative(counter, never);
    b.jump(done);
    b.exit(2);
    b.place(done);
    b.set(sum, 99, "sum");
    b.notify(NOTE, sum);
  });
  assert.equal(value, 99n);
});

test("a program that runs past its end exits with 0", async () => {
  const b = createProgramBuilder();
  b.notify(NOTE, 1);
  assert.deepEqual([...(await notesOf(fixture, b.finish()))], [[NOTE, 1n]]);
});

test("relocations: arrays of strings and structs with pointers reach the kernel", async () => {
  const value = await noted((b) => {
    const fd = b.register("fd");
    const count = b.register("count");
    const parts = new Uint8Array(32);
    parts[8] = 3;
    parts[24] = 4;
    const vector = b.struct(parts, [
      { at: 0, to: b.cstr("abc") },
      { at: 16, to: b.bytes(new TextEncoder().encode("defg"), 1) },
    ]);
    b.sys("openat", [-100, b.cstr(fixture.path("vector")), 0o1102, 0o600], { into: fd, why: "open" });
    b.sys("writev", [fd, vector, 2], { into: count, why: "write" });
    b.notify(NOTE, count);
  });
  assert.equal(value, 7n);
  assert.equal(fixture.read("vector"), "abcdefg");
});

test("FORK, SUPERVISE, EXIT: the child goes on at its label with a copy of the registers", async () => {
  const value = await noted((b) => {
    const pid = b.register("pid");
    const status = b.register("status");
    const kept = b.register("kept");
    const child = b.label("child");
    const parent = b.label("parent");
    b.set(kept, 41, "kept");
    b.fork({ flags: 0, into: pid, child, why: "fork" });
    b.jump(parent);
    b.place(child);
    const wrong = b.label("wrong");
    b.jumpIfNotZero(pid, wrong);
    b.sys("exit_group", [kept], { why: "exit with what was kept" });
    b.place(wrong);
    b.exit(1);
    b.place(parent);
    b.supervise(pid, status);
    b.notify(NOTE, status);
  });
  assert.equal(value, BigInt(41 << 8));
});

test("FORK gives a pidfd that tells the child's end", async () => {
  const value = await noted((b) => {
    const pid = b.register("pid");
    const pidfd = b.register("pidfd");
    const ready = b.register("ready");
    const child = b.label("child");
    const parent = b.label("parent");
    b.fork({ flags: 0, into: pid, child, pidfd, why: "fork" });
    b.jump(parent);
    b.place(child);
    b.exit(0);
    b.place(parent);
    const set = new Uint8Array(8);
    set[4] = 1;
    const poll = b.bytes(set);
    b.store(pidfd, poll, 4);
    b.sys("ppoll", [poll, 1, 0, 0, 0], { into: ready, why: "wait for the end" });
    b.notify(NOTE, ready);
  });
  assert.equal(value, 1n);
});

test("a forked child has default signal dispositions, whatever the shim ignores", async () => {
  const path = fixture.path("status");
  await noted((b) => {
    const pid = b.register("pid");
    const status = b.register("status");
    const child = b.label("child");
    const parent = b.label("parent");
    b.fork({ flags: 0, into: pid, child, why: "fork" });
    b.jump(parent);
    b.place(child);
    const script = `grep -E 'Sig(Ign|Blk)' /proc/self/status > ${path}`;
    b.sys("execve", [b.cstr("/bin/sh"), b.cstrArray(["sh", "-c", script]), b.cstrArray([])], { why: "sh" });
    b.place(parent);
    b.supervise(pid, status);
  });
  assert.equal(readFileSync(path, "utf8"), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
});

/** A child that fails in its second instruction, with an AWAIT in its parent. */
function failingChild(b: ProgramBuilder): void {
  const pid = b.register("pid");
  const child = b.label("child");
  const [read, write] = pipe(b, "status");
  b.fork({ flags: 0, into: pid, child, why: "fork" });
  close(b, write);
  b.awaitExec(read, pid);
  b.notify(NOTE, 1);
  b.exit(0);
  b.place(child);
  b.set(b.report, write, "report over the status pipe");
  b.sys("execve", [b.cstr("/nonexistent"), b.cstrArray([]), b.cstrArray([])], { why: "run /nonexistent" });
}

test("AWAIT forwards the child's failure", async () => {
  assert.deepEqual(await failed(failingChild), { label: "run /nonexistent", errno: "ENOENT" });
});

test("AWAIT goes on when execve has happened", async () => {
  const value = await noted((b) => {
    const pid = b.register("pid");
    const status = b.register("status");
    const child = b.label("child");
    const parent = b.label("parent");
    const [read, write] = pipe(b, "status");
    b.fork({ flags: 0, into: pid, child, why: "fork" });
    b.jump(parent);
    b.place(child);
    b.set(b.report, write, "report over the status pipe");
    b.sys("execve", [b.cstr("/bin/true"), b.cstrArray(["true"]), b.cstrArray([])], { why: "run true" });
    b.place(parent);
    close(b, write);
    b.awaitExec(read, pid);
    b.supervise(pid, status);
    b.notify(NOTE, status);
  });
  assert.equal(value, 0n);
});

test("AWAIT on something that cannot be read names itself", async () => {
  const failure = await failed((b) => {
    const nothing = b.register("nothing");
    b.set(nothing, 999, "no descriptor");
    b.awaitExec(nothing, nothing);
  });
  assert.deepEqual(failure, { label: "wait for execve in the child", errno: "EBADF" });
});

test("BARRIER lets through on a byte, and ends the process silently on end of file", async () => {
  const program = (withByte: boolean) => {
    const b = createProgramBuilder();
    const [read, write] = pipe(b, "barrier");
    if (withByte) b.sys("write", [write, b.cstr("x"), 1], { why: "open the barrier" });
    close(b, write);
    b.barrier(read, "wait");
    b.notify(NOTE, 1);
    return b.finish();
  };
  assert.equal((await exchange(fixture, program(true).bytes)).length, 1);
  assert.equal((await exchange(fixture, program(false).bytes)).length, 0);
});

test("SENDFD and RECVFD carry a descriptor, CLOEXEC on arrival", async () => {
  writeFileSync(fixture.path("passed"), "four");
  const notes = await (async () => {
    const b = createProgramBuilder();
    const pair = b.scratch(8);
    const [left, right, fd, received, count, flags] = [
      "left",
      "right",
      "fd",
      "received",
      "count",
      "flags",
    ].map((name) => b.register(name)) as [Register, Register, Register, Register, Register, Register];
    b.sys("socketpair", [AF_UNIX, SOCK_STREAM, 0, pair], { why: "make a pair" });
    b.load(left, b.slice(pair, 0, 4), 4);
    b.load(right, b.slice(pair, 4, 4), 4);
    b.sys("openat", [-100, b.cstr(fixture.path("passed")), 0, 0], { into: fd, why: "open" });
    b.sendFd(left, fd, "send");
    b.receiveFd(right, received, "receive");
    close(b, fd);
    readInto(b, received, b.scratch(8), count);
    b.sys("fcntl", [received, 1, 0], { into: flags, why: "look at its flags" });
    b.notify(NOTE, count);
    b.notify(NOTE + 1, flags);
    return notesOf(fixture, b.finish());
  })();
  assert.deepEqual(notes.get(NOTE), 4n);
  assert.deepEqual(notes.get(NOTE + 1), 1n);
});

test("RECVFD without a descriptor, or after the other side's end, is EBADMSG", async () => {
  for (const send of [true, false]) {
    const failure = await failed((b) => {
      const pair = b.scratch(8);
      const left = b.register("left");
      const right = b.register("right");
      b.sys("socketpair", [AF_UNIX, SOCK_STREAM, 0, pair], { why: "make a pair" });
      b.load(left, b.slice(pair, 0, 4), 4);
      b.load(right, b.slice(pair, 4, 4), 4);
      if (send) b.sys("write", [left, b.cstr("x"), 1], { why: "write a mere byte" });
      close(b, left);
      b.receiveFd(right, left, "receive");
    });
    assert.deepEqual(failure, { label: "receive", errno: "EBADMSG" });
  }
});

function acknowledgement(error: number, type = 2): Uint8Array {
  const bytes = new Uint8Array(36);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 36, true);
  view.setUint16(4, type, true);
  view.setInt32(16, error, true);
  return bytes;
}

/** LOADERR over these bytes, of which the kernel is said to have written `length`. */
function checkAck(content: Uint8Array, length = content.length, ignore = 0) {
  return (b: ProgramBuilder) => {
    const buffer = b.bytes(content);
    const count = b.register("count");
    b.set(count, length, "count");
    b.loadNetlinkError(buffer, count, { ignore, why: "add the link" });
    b.notify(NOTE, 1);
  };
}

test("LOADERR: an acknowledgement, its errno, an ignored one, none", async () => {
  assert.equal(await noted(checkAck(acknowledgement(0))), 1n);
  assert.equal(await noted(checkAck(acknowledgement(-17), 36, 17)), 1n);
  assert.deepEqual(await failed(checkAck(acknowledgement(-17))), { label: "add the link", errno: "EEXIST" });
  // An acknowledgement may come behind another message.
  const two = Buffer.concat([acknowledgement(0, 16), acknowledgement(-1)]);
  assert.equal((await failed(checkAck(two))).errno, "EPERM");
  for (const length of [0, 15, 19, 35]) {
    assert.equal((await failed(checkAck(acknowledgement(0), length))).errno, "EBADMSG", `length ${length}`);
  }
  assert.equal((await failed(checkAck(acknowledgement(0, 16)))).errno, "EBADMSG");
  assert.equal((await failed(checkAck(acknowledgement(0), -1))).errno, "EBADMSG");
  assert.equal((await failed(checkAck(acknowledgement(0), 1 << 30))).errno, "EBADMSG");
});

test("INIT forwards signals, reaps, and ends as its child ended", async () => {
  const path = fixture.path("init");
  const value = await noted((b) => {
    const outer = b.register("outer");
    const inner = b.register("inner");
    const status = b.register("status");
    const outerChild = b.label("outer child");
    const innerChild = b.label("inner child");
    const parent = b.label("parent");
    b.fork({ flags: 0, into: outer, child: outerChild, why: "fork" });
    b.jump(parent);
    b.place(outerChild);
    // A signal that comes before INIT waits for it.
    b.sys("rt_sigprocmask", [0, b.bytes(new Uint8Array(8).fill(0xff)), 0, 8], { why: "put signals off" });
    b.fork({ flags: 0, into: inner, child: innerChild, why: "fork again" });
    b.init(inner);
    b.place(innerChild);
    b.sys("rt_sigprocmask", [2, b.scratch(8), 0, 8], { why: "take signals again" });
    const script = `trap 'echo hup > ${path}; exit 5' HUP; kill -HUP $PPID; sleep 10 & wait`;
    b.sys(
      "execve",
      [b.cstr("/bin/sh"), b.cstrArray(["sh", "-c", script]), b.cstrArray([`PATH=${process.env.PATH}`])],
      {
        why: "sh",
      },
    );
    b.place(parent);
    b.supervise(outer, status);
    b.notify(NOTE, status);
  });
  assert.equal(value, BigInt(5 << 8));
  assert.equal(fixture.read("init"), "hup\n");
});

test("RELAY looks at its parameters again: the program may have changed them", async () => {
  const b = createProgramBuilder();
  const pid = b.register("pid");
  b.relay({
    pid,
    terminal: false,
    logJson: false,
    stdinOnce: false,
    closeOnExit: false,
    expectedAttaches: 0,
  });
  const { bytes } = b.finish();
  // The same program behind an instruction that spoils the flags: written by hand, as no builder would.
  const head = bytes.slice(0, 64);
  const relayInstruction = bytes.slice(64, 128);
  const store = new Uint8Array(64);
  const view = new DataView(store.buffer);
  const parameters = new DataView(relayInstruction.buffer).getBigInt64(16, true);
  store[0] = 4; // STORE
  store[8] = 1; // into data
  view.setBigInt64(16, parameters + 4n, true);
  view.setBigInt64(24, 4n, true);
  const set = new Uint8Array(64);
  set[0] = 2; // SET register 1
  set[1] = 1;
  new DataView(set.buffer).setBigInt64(16, 0x80n, true);
  store[1] = 1;
  const changed = Buffer.concat([head, set, store, relayInstruction, bytes.slice(128)]);
  changed.writeUInt32LE(changed.length, 8);
  changed.writeUInt32LE(3, 12);
  assert.deepEqual(await exchange(fixture, changed), [{ kind: "failed", instruction: 2, errno: 22 }]);
});

test("the shim gives the program nothing but its standard streams and the connection", async () => {
  mkdirSync(fixture.path("fds"));
  const listing = fixture.path("fds/list");
  await noted((b) => {
    const pid = b.register("pid");
    const status = b.register("status");
    const child = b.label("child");
    const parent = b.label("parent");
    b.fork({ flags: 0, into: pid, child, why: "fork" });
    b.jump(parent);
    b.place(child);
    // $PPID is the shim; ls's own descriptors don't matter then.
    const script = `ls -l /proc/$PPID/fd | sed 's/.* //' > ${listing}`;
    b.sys(
      "execve",
      [b.cstr("/bin/sh"), b.cstrArray(["sh", "-c", script]), b.cstrArray([`PATH=${process.env.PATH}`])],
      {
        why: "sh",
      },
    );
    b.place(parent);
    b.supervise(pid, status);
  });
  const links = readFileSync(listing, "utf8").trim().split("\n").slice(1);
  assert.equal(links.filter((link) => link === "/dev/null").length, 3);
  assert.equal(links.filter((link) => link.startsWith("socket:")).length, 1);
  assert.equal(links.length, 4, links.join(" "));
});
