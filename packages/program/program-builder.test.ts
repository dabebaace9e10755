import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MAX_REGISTERS, OP, type OpName } from "#program/instruction-format.ts";
import { createProgramBuilder } from "#program/program-builder.ts";
import type { Program } from "#program/types.ts";

/** A program taken apart again, by the specification and not by the encoder's constants. */
function decode({ bytes }: Program) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (at: number) => view.getUint32(at, true);
  const count = word(12);
  const relocations = word(16);
  const dataStart = 64 + count * 64 + relocations * 8;
  return {
    magic: word(0),
    version: word(4),
    total: word(8),
    dataLength: word(20),
    scratch: word(24),
    registers: word(28),
    instructions: Array.from({ length: count }, (_, index) => {
      const at = 64 + index * 64;
      return {
        op: view.getUint8(at),
        dst: view.getUint8(at + 1),
        ignore: view.getUint16(at + 2, true),
        number: word(at + 4),
        kinds: [...bytes.subarray(at + 8, at + 14)],
        flags: view.getUint16(at + 14, true),
        args: Array.from({ length: 6 }, (_unused, i) => view.getBigInt64(at + 16 + i * 8, true)),
      };
    }),
    relocations: Array.from({ length: relocations }, (_, index) => {
      const at = 64 + count * 64 + index * 8;
      return [word(at), word(at + 4)] as const;
    }),
    data: bytes.subarray(dataStart),
    text: (offset: number) => {
      const data = bytes.subarray(dataStart);
      return new TextDecoder().decode(data.subarray(offset, data.indexOf(0, offset)));
    },
  };
}

test("the header adds up", () => {
  const b = createProgramBuilder("x64");
  b.sys("openat", [-100, b.cstr("/etc"), 0, 0], { why: "open" });
  b.cstrArray(["a", "b"]);
  b.scratch(13);
  const program = b.finish();
  const decoded = decode(program);
  assert.equal(decoded.magic, 0x48545242);
  assert.equal(new TextDecoder().decode(program.bytes.subarray(0, 4)), "BRTH");
  assert.equal(decoded.version, 1);
  assert.equal(decoded.total, program.bytes.length);
  assert.equal(decoded.total, 64 + 64 + 2 * 8 + decoded.dataLength);
  assert.equal(decoded.scratch, 16);
  assert.equal(decoded.data.length % 8, 0);
});

test("arguments of every kind", () => {
  const b = createProgramBuilder("x64");
  const x = b.register("x");
  b.sys("openat", [-100, b.cstr("/etc/x"), 0xffff_ffff_ffff_ffffn, x, b.addressOf(x)], {
    into: x,
    ignore: 2,
    full: true,
    again: true,
    why: "open",
  });
  const decoded = decode(b.finish());
  const [instruction] = decoded.instructions;
  assert.ok(instruction);
  assert.deepEqual(instruction.kinds, [0, 1, 0, 2, 3, 0]);
  assert.equal(instruction.op, OP.SYS);
  assert.equal(instruction.dst, x.index);
  assert.equal(instruction.ignore, 2);
  assert.equal(instruction.flags, 3);
  assert.equal(instruction.number, 257);
  assert.deepEqual(instruction.args.slice(2), [-1n, BigInt(x.index), BigInt(x.index), 0n]);
  assert.equal(instruction.args[0], -100n);
  assert.equal(decoded.text(Number(instruction.args[1])), "/etc/x");
});

test("system call numbers are those of the architecture", () => {
  for (const [arch, number] of [
    ["x64", 257],
    ["arm64", 56],
  ] as const) {
    const b = createProgramBuilder(arch);
    b.sys("openat", [], { why: "open" });
    assert.equal(decode(b.finish()).instructions[0]?.number, number);
  }
  assert.throws(
    () => createProgramBuilder("arm64").sys("open", [], { why: "open" }),
    /arm64 has no system call open/,
  );
  assert.throws(() => createProgramBuilder("x64").sys("constructor", [], { why: "x" }), /no system call/);
});

test("results nobody wants do not go into the report descriptor's register", () => {
  const b = createProgramBuilder("x64");
  b.sys("getpid", [], { why: "get pid" });
  const [instruction] = decode(b.finish()).instructions;
  assert.notEqual(instruction?.dst, b.report.index);
  assert.equal(b.report.index, 0);
});

test("strings are stored once, as UTF-8, and never at offset 0", () => {
  const b = createProgramBuilder("x64");
  const [first, second, other] = [b.cstr("häuser"), b.cstr("häuser"), b.cstr("")];
  assert.equal(first, second);
  assert.ok(first.offset > 0 && other.offset > 0);
  assert.equal(first.length, 8);
  assert.throws(() => b.cstr("a\0b"), /NUL/);
});

test("arrays of strings end with NULL and point at their strings", () => {
  const b = createProgramBuilder("x64");
  const array = b.cstrArray(["one", "two", "one"]);
  b.exit(0);
  const decoded = decode(b.finish());
  assert.deepEqual(
    decoded.relocations.map(([where, target]) => [where - array.offset, decoded.text(target)]),
    [
      [0, "one"],
      [8, "two"],
      [16, "one"],
    ],
  );
  assert.equal(array.length, 32);
});

test("scratch lies behind the data, whatever is added after it was asked for", () => {
  const b = createProgramBuilder("x64");
  const room = b.scratch(16);
  const later = b.scratch(3, 1);
  b.sys("read", [0, room, 16], { why: "read" });
  b.sys("read", [0, b.slice(later, 1), 2], { why: "read" });
  const pointing = b.struct(new Uint8Array(8), [{ at: 0, to: room }]);
  b.cstr("x".repeat(10_000));
  const decoded = decode(b.finish());
  const base = BigInt(decoded.dataLength);
  assert.equal(decoded.instructions[0]?.args[1], base);
  assert.equal(decoded.instructions[1]?.args[1], base + 17n);
  assert.deepEqual(decoded.relocations, [[pointing.offset, decoded.dataLength]]);
  assert.equal(decoded.scratch, 24);
});

test("labels: forward, backward, unplaced, placed twice, placed at the end", () => {
  const b = createProgramBuilder("x64");
  const [x, start, end] = [b.register("x"), b.label("start"), b.label("end")];
  b.place(start);
  b.jumpIfNotZero(x, end);
  b.jumpIfNegative(x, start);
  b.jump(start);
  b.place(end);
  b.exit(0);
  assert.deepEqual(
    decode(b.finish()).instructions.map(({ number }) => number),
    [3, 0, 0, 0],
  );
  assert.throws(() => b.place(start), /placed twice/);
  const unplaced = createProgramBuilder("x64");
  unplaced.jump(unplaced.label("nowhere"));
  assert.throws(() => unplaced.finish(), /nowhere is used but placed nowhere/);
  const atEnd = createProgramBuilder("x64");
  const last = atEnd.label("last");
  atEnd.jump(last);
  atEnd.place(last);
  assert.throws(() => atEnd.finish(), /no instruction behind it/);
});

test("FORK: clone_args hold the flags, the pidfd's place and the cgroup", () => {
  const b = createProgramBuilder("x64");
  const [pid, pidfd, cgroup, child] = [
    b.register("pid"),
    b.register("pidfd"),
    b.register("cgroup"),
    b.label("child"),
  ];
  b.fork({ flags: 0x2000_0000, into: pid, pidfd, cgroup, child, why: "fork" });
  b.place(child);
  b.exit(0);
  const decoded = decode(b.finish());
  assert.deepEqual(
    decoded.instructions.map(({ op }) => op),
    [OP.STORE, OP.FORK, OP.LOAD, OP.EXIT],
  );
  const [store, fork] = decoded.instructions;
  const at = Number(fork?.args[0]);
  const view = new DataView(decoded.data.buffer, decoded.data.byteOffset + at, 88);
  assert.equal(view.getBigUint64(0, true), 0x2_2000_1000n);
  assert.equal(view.getBigUint64(32, true), 17n);
  assert.equal(Number(store?.args[0]), at + 80);
  assert.deepEqual(decoded.relocations, [[at + 8, decoded.dataLength]]);
  assert.equal(fork?.number, 3);
});

test("RELAY parameters lie where the specification has them", () => {
  const b = createProgramBuilder("x64");
  const [pid, out, log] = [b.register("pid"), b.register("out"), b.register("log")];
  b.relay({
    pid,
    terminal: false,
    logJson: true,
    stdinOnce: true,
    closeOnExit: true,
    stdout: out,
    log,
    expectedAttaches: 2,
    exitPath: "/run/exit",
    logAttrs: "",
    unlinkPath: "/run/sock",
  });
  const decoded = decode(b.finish());
  const at = Number(decoded.instructions[0]?.args[0]);
  const view = new DataView(decoded.data.buffer, decoded.data.byteOffset + at, 64);
  const words = Array.from({ length: 16 }, (_, index) => view.getInt32(index * 4, true));
  assert.deepEqual(words.slice(0, 8), [pid.index, 2 | 4 | 8, -1, out.index, -1, log.index, -1, 2]);
  assert.equal(decoded.text(words[8] ?? 0), "/run/exit");
  assert.equal(words[9], 0);
  assert.equal(decoded.text(words[10] ?? 0), "/run/sock");
  assert.deepEqual(words.slice(11), [0, 0, 0, 0, 0]);
});

test("what cannot be right is refused at once", () => {
  const b = createProgramBuilder("x64");
  const room = b.scratch(4);
  assert.throws(() => b.load(b.report, room, 8), /8 bytes do not fit into 4/);
  assert.throws(() => b.slice(room, 2, 3), /does not fit/);
  assert.throws(() => b.struct(new Uint8Array(8), [{ at: 4, to: room }]), /outside/);
  assert.throws(() => b.bytes(new Uint8Array(1), 16), /aligned/);
  assert.throws(() => b.sys("read", [1, 2, 3, 4, 5, 6, 7], { why: "x" }), /7 arguments/);
  assert.throws(() => createProgramBuilder("x64").finish(), /empty/);
  const many = createProgramBuilder("x64");
  assert.throws(() => {
    for (let i = 0; i <= MAX_REGISTERS; i++) many.register(`r${i}`);
  }, /at most 256/);
});

test("a failure is explained by its instruction's label", () => {
  const b = createProgramBuilder("x64");
  b.sys("mount", [], { why: "mount proc on /proc" });
  const program = b.finish();
  assert.equal(program.explain(0, 1), "mount proc on /proc: EPERM (operation not permitted)");
  assert.equal(program.explain(7, 999), "instruction 7: E999 (errno 999)");
});

test("the listing shows names, texts and reasons", () => {
  const b = createProgramBuilder("x64");
  const [fd, pid, child, out] = [b.register("fd"), b.register("pid"), b.label("child"), b.label("out")];
  b.sys("openat", [-100, b.cstr('/a "b"'), 0x80000, 0], { into: fd, ignore: 2, why: "open a b" });
  b.jumpIfNegative(fd, out);
  b.fork({ flags: 0, into: pid, child, why: "fork" });
  b.place(out);
  b.exit(0);
  b.place(child);
  b.set(b.report, fd, "report over the pipe");
  b.store(fd, b.scratch(4), 4);
  b.sys("write", [fd, b.bytes(new Uint8Array(12)), 12], { full: true, why: "write twelve bytes" });
  b.sys("execve", [b.cstr("/bin/sh"), b.cstrArray(["sh", "-c"]), b.cstrArray([])], { why: "run" });
  const listing = b.finish().listing().replace(/ +#/g, " #");
  assert.equal(
    listing,
    `    0  fd = openat(AT_FDCWD, "/a \\"b\\"", 0x80000, 0) unless ENOENT # open a b
    1  JNEG fd → out # go to out if fd < 0
    2  pid = FORK <88 bytes>, 0x58 child → child # fork
out:
    3  EXIT 0 # exit with 0
child:
    4  report = fd # report over the pipe
    5  STORE fd → <4 bytes>, 4 # store fd
    6  write(fd, <12 bytes>, 0xc) in full # write twelve bytes
    7  execve("/bin/sh", ["sh", "-c"], []) # run
`,
  );
});

test("operation numbers are those of the specification's order", () => {
  const order: OpName[] = [
    "SYS",
    "SET",
    "LOAD",
    "STORE",
    "FMTDEC",
    "JMP",
    "JNZ",
    "JNEG",
    "FORK",
    "LOADERR",
    "AWAIT",
    "BARRIER",
    "NOTIFY",
    "SENDFD",
    "RECVFD",
    "RELAY",
    "INIT",
    "SUPERVISE",
    "EXIT",
  ];
  assert.deepEqual(
    order.map((name) => OP[name]),
    order.map((_, index) => index + 1),
  );
});

test("any set of strings can be found again", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary" }).filter((text) => !text.includes("\0"))), (texts) => {
      const b = createProgramBuilder("x64");
      const array = b.cstrArray(texts);
      b.exit(0);
      const decoded = decode(b.finish());
      const strings = decoded.relocations.map(([, target]) => decoded.text(target));
      assert.deepEqual(
        strings,
        texts.map((text) => new TextDecoder().decode(new TextEncoder().encode(text))),
      );
      assert.equal(array.length, (texts.length + 1) * 8);
    }),
  );
});
