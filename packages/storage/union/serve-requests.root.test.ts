/** Requests as no kernel would send them: each is answered, with an error if it makes no sense, and harms no branch below. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { ERRNO } from "#kernel/errno.ts";
import { OPCODE, SIZE } from "#kernel/fuse/fuse-protocol.ts";
import { FuseReply } from "#kernel/fuse/fuse-reply.ts";
import { FuseRequest } from "#kernel/fuse/fuse-request.ts";
import { umask } from "#kernel/syscalls.ts";
import { UnionService } from "#storage/union/serve-requests.ts";
import { UnionTree } from "#storage/union/union-tree.ts";

const skip = process.geteuid?.() === 0 ? false : "needs root";

/** A union without a mount: what is asked is asked here. */
class Bench implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "berth-union-service-"));
  readonly upper = join(this.directory, "upper");
  readonly lower = join(this.directory, "lower");
  readonly tree: UnionTree;
  readonly faults: unknown[] = [];
  readonly #service: UnionService;
  readonly #request = new FuseRequest(1 << 17);
  readonly #reply = new FuseReply(1 << 17);
  readonly #mask = umask(0);

  constructor() {
    mkdirSync(this.upper);
    execFileSync("mkdir", ["-p", join(this.lower, "d/e")]);
    for (const name of ["a", "b", "d/c"]) writeFileSync(join(this.lower, name), name);
    this.tree = new UnionTree(
      [
        { path: this.upper, writable: true },
        { path: this.lower, writable: false },
      ],
      undefined,
      false,
    );
    this.#service = new UnionService(this.tree, {
      fault: (error) => this.faults.push(error),
      resume: () => {},
      answer: () => {},
    });
  }

  /** The error number of the answer, and what follows its header; undefined for no answer. */
  ask(opcode: number, node: number, body: Uint8Array): { errno: number; data: Buffer } | undefined {
    const { buffer } = this.#request;
    const length = SIZE.IN_HEADER + body.length;
    buffer.fill(0, 0, SIZE.IN_HEADER);
    buffer.writeUInt32LE(length, 0);
    buffer.writeUInt32LE(opcode, 4);
    buffer.writeBigUInt64LE(42n, 8);
    buffer.writeBigUInt64LE(BigInt(node), 16);
    buffer.set(body, SIZE.IN_HEADER);
    if (!this.#request.begin(length)) return undefined;
    const answered = this.#service.serve(this.#request, this.#reply);
    if (answered === 0) return undefined;
    const answer = this.#reply.buffer.subarray(0, answered);
    assert.equal(answer.readUInt32LE(0), answered);
    assert.equal(answer.readBigUInt64LE(8), 42n);
    return { errno: Math.abs(answer.readInt32LE(4)), data: Buffer.from(answer.subarray(SIZE.OUT_HEADER)) };
  }

  [Symbol.dispose](): void {
    this.tree[Symbol.dispose]();
    umask(this.#mask);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const name = (text: string) => Buffer.from(`${text}\0`);
const number = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

test("what the kernel has forgotten, or never knew, is stale", { skip }, () => {
  using bench = new Bench();
  const found = bench.ask(OPCODE.LOOKUP, 1, name("a"));
  const node = Number(found?.data.readBigUInt64LE(0));
  assert.equal(bench.ask(OPCODE.GETATTR, node, Buffer.alloc(16))?.errno, 0);
  assert.equal(bench.ask(OPCODE.FORGET, node, number(1)), undefined);
  for (const stale of [node, 0, 4711, 2 ** 52]) {
    assert.equal(bench.ask(OPCODE.GETATTR, stale, Buffer.alloc(16))?.errno, ERRNO.ESTALE, `${stale}`);
  }
  // Once too often does no harm, and the root is never forgotten.
  bench.ask(OPCODE.FORGET, node, number(1));
  bench.ask(OPCODE.FORGET, 1, number(1000));
  assert.equal(bench.ask(OPCODE.GETATTR, 1, Buffer.alloc(16))?.errno, 0);
  assert.equal(bench.tree.nodes.size, 1);
});

test("a file is no directory, and a directory is no file", { skip }, () => {
  using bench = new Bench();
  const file = Number(bench.ask(OPCODE.LOOKUP, 1, name("a"))?.data.readBigUInt64LE(0));
  assert.equal(bench.ask(OPCODE.LOOKUP, file, name("x"))?.errno, ERRNO.ENOTDIR);
  assert.equal(bench.ask(OPCODE.READDIR, file, Buffer.alloc(40))?.errno, ERRNO.ENOTDIR);
  assert.equal(
    bench.ask(OPCODE.MKDIR, file, Buffer.concat([Buffer.alloc(8), name("x")]))?.errno,
    ERRNO.ENOTDIR,
  );
  assert.notEqual(bench.ask(OPCODE.OPEN, 1, Buffer.alloc(8))?.errno, 0);
  assert.equal(bench.ask(OPCODE.READ, file, Buffer.alloc(40))?.errno, ERRNO.EBADF);
  assert.equal(bench.ask(OPCODE.WRITE, file, Buffer.alloc(48))?.errno, ERRNO.EBADF);
  assert.equal(bench.ask(9999, 1, Buffer.alloc(8))?.errno, ERRNO.ENOSYS);
});

test("an agreement is offered to kernels that are young enough alone", { skip }, () => {
  using bench = new Bench();
  const init = (major: number, minor: number) => {
    const body = Buffer.alloc(64);
    for (const [index, value] of [major, minor, 131_072, 0x7fff_ffff, 0xffff_ffff].entries()) {
      body.writeUInt32LE(value, index * 4);
    }
    return bench.ask(OPCODE.INIT, 0, body);
  };
  assert.equal(init(7, 26)?.errno, ERRNO.EPROTO);
  assert.equal(init(8, 0)?.errno, ERRNO.EPROTO);
  assert.equal(init(7, 31)?.data.readUInt32LE(4), 31);
  const newest = init(7, 99)?.data;
  assert.equal(newest?.length, SIZE.INIT_OUT);
  assert.equal(newest?.readUInt32LE(4), 45);
  assert.equal(newest?.readUInt32LE(8), 131_072);
  // Neither zero-message opens nor a cache that is written back: what is written has to be there at once.
  assert.equal((newest?.readUInt32LE(12) ?? 0) & ((1 << 16) | (1 << 17)), 0);
});

test("requests of any kind with any content are answered, and nothing below is changed", { skip }, () => {
  using bench = new Bench();
  const look = () =>
    execFileSync("sh", ["-c", "find . -printf '%P %m %U %G %s %T@ %n\\n' | sort; cat a b d/c"], {
      cwd: bench.lower,
      encoding: "utf8",
    });
  const before = look();
  const words = fc.constantFrom(
    "a",
    "b",
    "c",
    "d",
    "e",
    ".wh.a",
    ".wh..wh..opq",
    "new",
    "x".repeat(255),
    "x".repeat(300),
  );
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 120 }).map((bytes) => Buffer.from(bytes)),
    // Structures of small numbers, with names behind them.
    fc
      .tuple(fc.array(fc.nat(9), { maxLength: 12 }), fc.array(words, { maxLength: 3 }))
      .map(([numbers, names]) => Buffer.concat([...numbers.map(number), ...names.map(name)])),
    fc.tuple(fc.array(fc.nat(9), { maxLength: 4 }), words, words).map(([numbers, one, other]) => {
      const structure = Buffer.alloc(numbers.length * 4);
      for (const [index, value] of numbers.entries()) structure.writeUInt32LE(value, index * 4);
      return Buffer.concat([structure, name(one), name(other)]);
    }),
  );
  // What is named comes without slashes from any kernel.
  const clean = content.map((bytes) =>
    Buffer.from(bytes.map((byte) => (byte === 0x2f || byte === 0x2e ? 0x41 : byte))),
  );
  const opcode = fc.constantFrom(...Object.values(OPCODE));
  fc.assert(
    fc.property(fc.array(fc.tuple(opcode, fc.nat(12), clean), { maxLength: 40 }), (requests) => {
      for (const [code, node, body] of requests) {
        const answer = bench.ask(code, node, body);
        if (answer !== undefined) assert.ok(answer.errno >= 0 && answer.errno < 4096);
      }
    }),
    { numRuns: 300 },
  );
  assert.equal(look(), before);
  // None of it was a fault of our own.
  assert.deepEqual([...new Set(bench.faults.map(String))], []);
});
